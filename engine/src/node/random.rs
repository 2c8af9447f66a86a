//! Random bits of the kernel, for ids that must never repeat.

use std::io;

/// Sixteen random bytes as a number.
pub fn bits() -> io::Result<u128> {
    let mut bytes = [0u8; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the slice is ours and lives through the call.
        match unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) } {
            count if count > 0 => filled += count as usize,
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(u128::from_le_bytes(bytes))
}

/// An id as Kafka writes them: 128 random bits in 22 letters (base64 for URLs). It begins with a letter or digit, so that no
/// command line takes it for an option.
pub fn text_id() -> io::Result<String> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    loop {
        let bits = bits()?;
        let letter = |place: u32| LETTERS[(bits >> (6 * place)) as usize & 63] as char;
        if letter(0).is_ascii_alphanumeric() {
            return Ok((0..22).map(letter).collect());
        }
    }
}
