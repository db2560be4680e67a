//! Names the certificate that is missing in a chain, so that a person can get it.

use std::fmt;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The attribute `commonName` of a name, by which people know it, as DER writes its type (2.5.4.3).
const COMMON_NAME: &[u8] = b"\x06\x03\x55\x04\x03";
/// The access method of an issuer's certificate, `caIssuers` (1.3.6.1.5.5.7.48.2), in DER.
const ISSUER_ADDRESS: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02";
/// The tag of an address in a list of names.
const ADDRESS_TAG: u8 = 0x86;
/// The most certificates from a signer's to the authority's.
const LONGEST_CHAIN: usize = 8;

/// The issuer at which a certificate chain ends, and whose own certificate is unknown.
pub(super) struct MissingIssuer {
    name: String,
    /// The address of the issuer's certificate, as the certificate that it issued states it.
    address: Option<String>,
}

impl MissingIssuer {
    /// Finds the missing issuer of a certificate, given the known certificates; `None` if one of
    /// them can't be parsed.
    pub(super) fn find(leaf: &CertificateDer<'_>, known: &[CertificateDer<'_>]) -> Option<Self> {
        let known: Vec<_> = known
            .iter()
            .filter_map(|one| Some((EndEntityCert::try_from(one).ok()?, one)))
            .collect();
        let (leaf_der, leaf) = (leaf, EndEntityCert::try_from(leaf).ok()?);
        let mut last = (&leaf, leaf_der);
        for _ in 0..LONGEST_CHAIN {
            let issuer = known
                .iter()
                .find(|(one, _)| one.subject() == last.0.issuer() && one.subject() != one.issuer());
            match issuer {
                Some((issuer, der)) => last = (issuer, *der),
                None => break,
            }
        }
        let (last, der) = last;
        let name = value_behind(last.issuer(), COMMON_NAME, |_| true)?.to_owned();
        let address = value_behind(der, ISSUER_ADDRESS, |tag| tag == ADDRESS_TAG);
        Some(Self {
            name,
            address: address.filter(|address| address.starts_with("http")).map(str::to_owned),
        })
    }
}

impl fmt::Display for MissingIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address } = self;
        write!(
            f,
            "no certificate of its issuer `{name}` is known; put that in PEM under `webhook.verify.intermediates` in the provider's file"
        )?;
        if let Some(address) = address {
            write!(f, " (`curl {address} | openssl x509 -inform der` writes it)")?;
        }
        f.write_str(", or among the system's authorities if it is one")
    }
}

/// The text of the value after a type, if the value's tag is right. Only short and printable texts
/// count.
fn value_behind<'d>(der: &'d [u8], kind: &[u8], is_tag: impl Fn(u8) -> bool) -> Option<&'d str> {
    let at = der.windows(kind.len()).position(|window| window == kind)?;
    let (&tag, rest) = der[at + kind.len()..].split_first()?;
    let (&length, rest) = rest.split_first()?;
    let value = (is_tag(tag) && length < 0x80).then(|| rest.get(..usize::from(length)))??;
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.chars().all(|c| c.is_ascii_graphic() || c == ' '))
}
