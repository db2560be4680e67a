use std::io::{BufRead as _, BufReader};
use std::sync::mpsc;

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn notice(dropped: u64) -> Vec<u8> {
    format!("dropped {dropped}\n").into_bytes()
}

/// Makes a line of so many bytes that begins with its number.
fn line(number: usize, length: usize) -> Vec<u8> {
    format!("{number:<width$}\n", width = length - 1).into_bytes()
}

#[test]
fn lines_are_written_in_their_order_and_a_flush_waits_for_them() {
    let (reader, writer) = io::pipe().unwrap();
    let mut queue = LogQueue::start(writer, notice).unwrap();
    let reading = std::thread::spawn(move || {
        BufReader::new(reader)
            .lines()
            .take(10_000)
            .map(|line| line.unwrap().trim().to_owned())
            .collect::<Vec<_>>()
    });
    for number in 0..10_000 {
        queue.write_all(&line(number, 100)).unwrap();
    }
    queue.flush(SOON);
    assert_eq!(queue.0.lock().bytes, 0);
    assert_eq!(
        reading.join().unwrap(),
        (0..10_000).map(|number| number.to_string()).collect::<Vec<_>>()
    );
}

#[test]
fn an_unread_pipe_blocks_nobody_and_dropped_lines_are_counted_at_their_place() {
    const LENGTH: usize = 32 << 10;
    const LINES: usize = 4 * MAX_QUEUED / LENGTH;
    let (reader, writer) = io::pipe().unwrap();
    let mut queue = LogQueue::start(writer, notice).unwrap();
    for number in 0..LINES {
        queue.write_all(&line(number, LENGTH)).unwrap();
    }
    queue.flush(Duration::from_millis(1));
    let dropped = queue.0.lock().dropped;
    assert!(usize::try_from(dropped).unwrap() > LINES / 3, "{dropped} of {LINES} were dropped");
    assert!(queue.0.lock().bytes <= MAX_QUEUED);
    let mut read = BufReader::new(reader).lines().map(|line| line.unwrap().trim().to_owned());
    let kept = LINES - usize::try_from(dropped).unwrap();
    let before: Vec<_> = read.by_ref().take(kept).collect();
    assert_eq!(before, (0..kept).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(read.next().unwrap(), format!("dropped {dropped}"));
    queue.write_all(&line(7, 100)).unwrap();
    assert_eq!(read.next().unwrap(), "7");
    queue.flush(SOON);
    assert_eq!(queue.0.lock().dropped, 0);
}

#[test]
fn a_reader_that_is_gone_is_no_reason_to_stop() {
    let (reader, writer) = io::pipe().unwrap();
    let mut queue = LogQueue::start(writer, notice).unwrap();
    drop(reader);
    for number in 0..1_000 {
        queue.write_all(&line(number, 32 << 10)).unwrap();
        queue.flush(SOON);
    }
    let state = queue.0.lock();
    assert_eq!((state.bytes, state.dropped), (0, 0));
}

#[test]
fn a_standard_error_that_does_not_block_gets_every_byte_in_the_end() {
    struct NonBlockingWriter(mpsc::Sender<Vec<u8>>, bool);
    impl Write for NonBlockingWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let some = bytes.len().min(3);
            self.0.send(bytes[..some].to_vec()).unwrap();
            Ok(some)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (sent, written) = mpsc::channel();
    let mut queue = LogQueue::start(NonBlockingWriter(sent, false), notice).unwrap();
    queue.write_all(b"eight bytes").unwrap();
    queue.flush(SOON);
    assert_eq!(written.try_iter().flatten().collect::<Vec<_>>(), b"eight bytes");
}

/// Sends what each write gets.
struct SendingWriter(mpsc::Sender<String>);

impl Write for SendingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_quiet_log_is_written_at_once_and_lines_that_follow_soon_are_written_together() {
    const HOUR: Duration = Duration::from_hours(1);
    let (sent, written) = mpsc::channel();
    let queue = LogQueue::start_gathering(SendingWriter(sent), notice, HOUR).unwrap();
    queue.push(b"a\n");
    assert_eq!(written.recv_timeout(SOON).unwrap(), "a\n");
    // A flush would end the gathering where it has begun.
    let end = Instant::now() + SOON;
    while queue.0.lock().writer != WriterState::Gathering {
        assert!(Instant::now() < end, "lines gather after others were written");
        std::thread::yield_now();
    }
    queue.push(b"b\n");
    queue.push(b"c\n");
    assert!(written.try_recv().is_err(), "these wait for more");
    queue.flush(SOON);
    assert_eq!(written.try_recv().unwrap(), "b\nc\n", "the end of the process does not wait");
    let many = "d".repeat(MAX_WRITTEN - 1) + "\n";
    queue.push(many.as_bytes());
    queue.push(b"e\n");
    assert_eq!(written.recv_timeout(SOON).unwrap(), many, "many lines do not wait");
    assert_eq!(written.recv_timeout(SOON).unwrap(), "e\n");
}

#[test]
fn lines_that_gathered_are_written_after_a_moment_without_further_ones() {
    let (sent, written) = mpsc::channel();
    let queue = LogQueue::start(SendingWriter(sent), notice).unwrap();
    for line in ["a\n", "b\n", "c\n"] {
        queue.push(line.as_bytes());
        assert_eq!(written.recv_timeout(SOON).unwrap(), line);
    }
}
