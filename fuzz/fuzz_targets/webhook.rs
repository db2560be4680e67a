//! See `ferryd::fuzzing::WEBHOOK`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ferryd::fuzzing::WEBHOOK.check)(data));
