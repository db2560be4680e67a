//! See `ferryd::fuzzing::BATCH`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ferryd::fuzzing::BATCH.check)(data));
