//! Flatbuffers schemas of Millstream and their generated Rust.
