//! See `ferryd::fuzzing::CALLBACK`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ferryd::fuzzing::CALLBACK.check)(data));
