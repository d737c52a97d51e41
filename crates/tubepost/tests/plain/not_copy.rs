// says: `Reading` derives Message, so it must be `Copy`: a message is sent and received by value

use tubepost::Message;

#[derive(Message)]
#[repr(C)]
struct Reading {
    sensor: u32,
}

fn main() {}
