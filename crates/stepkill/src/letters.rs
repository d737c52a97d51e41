//! Numbered messages that show if they are torn.

/// Who sent a message, and its number among that one's.
pub type Number = (u8, u32);

/// The judge's own.
pub const JUDGE: u8 = 1;

/// A message of so many bytes, each of which depends on all that it is.
pub fn write((sender, number): Number, length: usize) -> Vec<u8> {
    let mut bytes = vec![sender];
    bytes.extend(number.to_le_bytes());
    let more = bytes.len()..length;
    bytes.extend(more.map(|at| filler(sender, number, length, at)));
    bytes
}

/// Which message it is; an error if any byte is another than was sent.
pub fn read(bytes: &[u8]) -> Result<Number, String> {
    let Some((head, _)) = bytes.split_first_chunk::<5>() else {
        return Err(format!("torn: a message of {} bytes", bytes.len()));
    };
    let number = (head[0], u32::from_le_bytes([head[1], head[2], head[3], head[4]]));
    if write(number, bytes.len()) != bytes {
        return Err(format!("torn: message {number:?} of {} bytes is not as it was sent", bytes.len()));
    }
    Ok(number)
}

fn filler(sender: u8, number: u32, length: usize, at: usize) -> u8 {
    let mixed = (at as u32 ^ number.rotate_left(9) ^ length as u32).wrapping_mul(0x9e37_79b1);
    (mixed >> 24) as u8 ^ sender
}
