//! See `ferryd::fuzzing::HEADERS`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ferryd::fuzzing::HEADERS.check)(data));
