// says: `Reading` needs `#[repr(C)]`

use tubepost::Message;

#[derive(Message, Clone, Copy)]
struct Reading {
    sensor: u32,
    celsius: f32,
}

fn main() {}
