//! See `ferryd::fuzzing::RETRY_AFTER`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ferryd::fuzzing::RETRY_AFTER.check)(data));
