//! See `ferryd::fuzzing::WEBHOOK_MESSAGE`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ferryd::fuzzing::WEBHOOK_MESSAGE.check)(data));
