//! See `ferryd::fuzzing::COMMAND`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ferryd::fuzzing::COMMAND.check)(data));
