//! See `ferryd::fuzzing::RECORD`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ferryd::fuzzing::RECORD.check)(data));
