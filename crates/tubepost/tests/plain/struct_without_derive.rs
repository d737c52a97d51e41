// says: `Point` is not plain data, so it can't be in a message of fixed length

use tubepost::Message;

#[derive(Clone, Copy)]
#[repr(C)]
struct Point {
    x: f32,
    y: f32,
}

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Bad {
    value: Point,
}

fn main() {}
