//! The generated code is the one its schema gives.

use std::path::{Path, PathBuf};

/// The checksum POSIX `cksum` prints: CRC-32 (polynomial 0x04C11DB7, most significant bit first) over the bytes and their
/// count.
fn cksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            (crc << 1) ^ (if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 })
        })
    };
    let mut crc = bytes.iter().copied().fold(0, step);
    let mut count = bytes.len();
    while count > 0 {
        crc = step(crc, (count & 0xFF) as u8);
        count >>= 8;
    }
    !crc
}

fn names_in(directory: &str, extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut names: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the directory exists")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    names.sort();
    names
}

#[test]
fn generated_code_is_fresh() {
    let schemas = names_in("fbs", "fbs");
    let generated = names_in("src/generated", "rs");
    assert_eq!(schemas.len(), generated.len());
    for (schema, generated) in schemas.iter().zip(&generated) {
        assert_eq!(schema.file_stem(), generated.file_stem());
        let schema = std::fs::read(schema).expect("it can be read");
        let code = std::fs::read_to_string(generated).expect("it can be read");
        let expected = format!("// schema: {} {}", cksum(&schema), schema.len());
        assert_eq!(
            code.lines().next(),
            Some(expected.as_str()),
            "run flatbuffers/generate (it says how to get flatc)"
        );
    }
}

#[test]
fn cksum_agrees_with_posix() {
    assert_eq!(cksum(b""), 4294967295);
    assert_eq!(cksum(b"123456789"), 930766865);
}
