//! What stepkill found, and what must not come back: each test opens with the story, and walks once more through
//! the operations in which it was seen.

use std::process::Command;

/// Runs a part of the machinery; it has to have something to do, and to find nothing.
#[track_caller]
fn finds_nothing(arguments: &[&str], at_least: u64) {
    let run = Command::new(env!("CARGO_BIN_EXE_stepkill")).args(arguments).output().expect("our own program");
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let number = |name: &str| {
        let after = told.split_once(&format!("\"{name}\": ")).map_or("", |(_, after)| after);
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap_or_else(|_| panic!("no {name} in “{told}”\n{errors}"))
    };
    assert!(run.status.success() && number("violations") == 0, "{arguments:?}: {told}\n{errors}");
    let done = number("kills") + number("stops") + number("faults");
    assert!(done >= at_least, "{arguments:?} did {done} of {at_least}: {told}");
}

/// Chunks shorter than a page are given back together, and for that moment all chunks of the page are taken, also
/// those beyond the mark of what was ever used. Who died then left these as its own, and everybody who puts
/// the dead's chunks in order looked below the mark only: they stayed taken, and seemed to be the next one's who had
/// the row. Now the mark is raised first.
#[test]
fn a_trimmer_that_dies_leaves_no_chunk_beyond_the_mark() {
    finds_nothing(&["pairs", "gc+take-chunked"], 150);
}

/// An owner that died between moving a message's chunk into its hand and freeing the slot left it in both, and
/// everybody was told of one message more that was never collected than there was.
#[test]
fn an_owner_that_dies_taking_a_long_message_has_it_once() {
    finds_nothing(&["changes", "own-take-chunked"], 50);
    finds_nothing(&["changes", "own-recv-chunked"], 20);
}

/// The page that tells a forked child from its parent is mapped when a process first opens anything. Where
/// the system refused it, all calls that open something panicked. Now they return `NoMemory`.
#[test]
fn a_mapping_that_is_refused_is_an_error() {
    finds_nothing(&["faults", "create"], 10);
    finds_nothing(&["faults", "open-sender"], 10);
}

/// A receiver that meets its first long message maps the page with the chunk's entry. Where the system refused
/// that, an accepted message was taken for damaged and dropped. Now it stays, and the call returns the error.
#[test]
fn a_message_stays_when_its_receiver_has_no_memory() {
    finds_nothing(&["faults", "own-recv-chunked"], 3);
    finds_nothing(&["faults", "recv-chunked"], 10);
}

/// A caller died while somebody who lives was just answering it. Its cell was left alone: "that one answers, and then it is
/// seen to". But by then its row was another's, so nobody took the call for a dead one's any more, and the cell, with
/// the chunk of a long answer, stayed that one's, who knew nothing of it. Now such a call is given up when the row is swept.
#[test]
fn a_caller_that_dies_while_it_is_answered_leaves_no_cell() {
    finds_nothing(&["changes", "call-reply-to-dead"], 40);
}

/// A process stood still between the two ways of a link that it had said all about, and another one came to it that
/// left that open: what it made of the second way was the usual, and the first one, going on, was refused. Then it
/// took the first way's name away without an end: who received there polled until its deadline. Now the second way is
/// what the first one is, and what was made in vain is over.
#[test]
fn who_sets_up_a_link_first_is_not_refused() {
    finds_nothing(&["quick", "link-make"], 150);
}

/// What a process had sent before it died was not received by who came to the link afterwards, for the way there was
/// over.
#[test]
fn what_a_dead_one_sent_comes_through_a_link_made_afterwards() {
    finds_nothing(&["quick", "link-gc"], 40);
}

/// Who removed something asked what has the name, was refused an answer by the system, took it for another's, and said
/// that it had removed it. Now that is an error.
#[test]
fn who_can_t_look_has_not_removed_it() {
    finds_nothing(&["faults", "region-remove"], 20);
}

/// Two made a log in one directory at a time: who came second put its own description in the place of the first one's, which was in use by then. Nobody who came later
/// could open it, and its files seemed to be another log's. Now a description is never replaced. And who stood still between giving the mailbox its name and
/// its share of the log's lock held up everybody who came by that name, for two seconds each time. Now it has that before.
#[test]
fn a_log_has_one_description_and_nobody_waits_for_its_maker() {
    finds_nothing(&["quick", "file-create-each"], 60);
}

/// A process died in removing a mailbox whose messages are in files. When it had closed the log and not said so, those who received tried again and again, and did not look at their deadlines.
/// When it had taken away the link to the log, nobody could remove the mailbox any more. And its files stayed, and what had never been collected was counted once more when the next mailbox in that
/// directory was removed. Now whoever meets what is closed goes on, and the files go before the name does.
#[test]
fn a_mailbox_in_files_whose_remover_died_is_removed() {
    finds_nothing(&["quick", "file-remove"], 60);
}

/// A log whose sync had failed stayed so until the machine was started anew, though everybody had closed it. Now who opens it then puts it in order. And one that could not have memory for a moment was taken for failed.
#[test]
fn a_log_that_failed_opens_again() {
    finds_nothing(&["faults", "file-send-each"], 3);
    finds_nothing(&["faults", "file-send-next"], 100);
}
