//! See `ferryd::fuzzing::PROVIDER_FILE`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ferryd::fuzzing::PROVIDER_FILE.check)(data));
