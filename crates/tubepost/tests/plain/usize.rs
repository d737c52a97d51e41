// says: `usize` is not plain data, so it can't be in a message of fixed length
// says: their width differs between processes: use u64 or i64

use tubepost::Message;

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Bad {
    value: usize,
}

fn main() {}
