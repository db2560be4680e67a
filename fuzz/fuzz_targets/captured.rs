//! See `ferryd::fuzzing::CAPTURED`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ferryd::fuzzing::CAPTURED.check)(data));
