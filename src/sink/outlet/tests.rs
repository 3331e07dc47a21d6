use super::fake::{Fake, Reply};
use super::*;
use crate::base::clock::Clock;
use crate::metric::line::Labels;
use crate::metric::{Field, Point};
use crate::sink::{Accounting, Destination, File, Outlets, Running, Sink, replay};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const FAST: Pace = Pace {
    look: Duration::from_millis(5),
    answer: Duration::from_millis(300),
    pause: Duration::from_millis(10),
    longest_pause: Duration::from_millis(40),
    last: Duration::from_secs(2),
};

const SECRET: &str = "hunter2-hunter2";

/// A run with one sink.
struct Lab {
    dir: tempfile::TempDir,
    door: Door,
    outlets: Outlets,
    said: Arc<Mutex<Vec<String>>>,
    total: Accounting,
}

fn door(port: u16, dir: &Path) -> Door {
    let token = dir.join("token");
    std::fs::write(&token, SECRET).unwrap();
    let text = format!("url = 'http://127.0.0.1:{port}/p'\norg = 'o'\nbucket = 'b c'\ntoken_file = {token:?}");
    Destination::Influx(toml::from_str(&text).unwrap()).open().unwrap()
}

impl Lab {
    fn new(port: u16, pace: Pace) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let door = door(port, dir.path());
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let say: Say = {
            let said = said.clone();
            Arc::new(move |line: &str| said.lock().unwrap().push(line.to_owned()))
        };
        let outlets = Outlets::start(vec![("lab".to_owned(), door.clone())], dir.path(), pace, &say).unwrap();
        Lab { dir, door, outlets, said, total: Accounting::default() }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join(FILE)
    }

    /// A trial that produces so many points.
    async fn trial(&mut self, points: usize) {
        self.trial_into(points, &self.file()).await;
    }

    async fn trial_into(&mut self, points: usize, file: &Path) {
        let labels = Labels { run_id: "r".into(), scenario: "s".into(), variant: "only".into(), trial: 1 };
        let sink = Sink::File(File::append(file).unwrap());
        let running = Running::start(sink, &labels, Clock::start(), self.outlets.orphans());
        running.points().send((0..points).map(point).collect());
        self.total += running.stop().await.unwrap().accounting;
    }

    /// The account, with what was said and where it was.
    async fn stop(self) -> (Account, Vec<String>, tempfile::TempDir, Door) {
        let account = self.outlets.stop(self.total).await.swap_remove("lab").unwrap();
        assert!(account.adds_up(), "{account:?}");
        let said = self.said.lock().unwrap().clone();
        let told = format!("{account:?} {said:?} {:?}", self.door);
        assert!(!told.contains(SECRET), "{told}");
        (account, said, self.dir, self.door)
    }
}

fn point(number: usize) -> Point {
    Point {
        measurement: "pg_ash",
        node: "a".into(),
        role: "primary",
        // No two of a stamp, and fewer series than a trial may have.
        tags: vec![("state", format!("n{}", number % 100))],
        fields: vec![("sessions", Field::Int(number as i64))],
        elapsed: Duration::from_millis(number as u64),
    }
}

fn is_number(line: &str, number: usize) -> bool {
    line.contains(&format!(" sessions={number}i "))
}

/// The numbers of points, in the order of lines.
fn numbers<'a>(lines: impl Iterator<Item = &'a String>) -> Vec<usize> {
    let number = |line: &String| line.split_once("sessions=")?.1.split_once('i')?.0.parse().ok();
    lines.filter_map(number).collect()
}

/// A port on which nobody listens.
fn nobody() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

const OK: Reply = Reply::Say(204, "", "");

#[tokio::test]
async fn what_is_written_arrives_batch_by_batch_with_its_token() {
    let fake = Fake::start(|_, _| OK);
    let mut lab = Lab::new(fake.port, FAST);
    lab.trial(LINES + 1).await;
    lab.trial(1).await;
    let (account, said, ..) = lab.stop().await;
    assert_eq!((account.acknowledged, account.produced), (LINES as u64 + 2, LINES as u64 + 2));
    let asked = fake.asked();
    assert_eq!(asked.iter().map(|asked| asked.lines.len()).collect::<Vec<_>>(), [LINES, 1, 1]);
    assert!(asked[0].head.starts_with("POST /p/api/v2/write?org=o&bucket=b+c&precision=ms HTTP/1.1\r\n"));
    assert!(asked[0].head.contains(&format!("authorization: Token {SECRET}\r\n")), "{}", asked[0].head);
    assert_eq!(said, [""; 0]);
}

#[tokio::test]
async fn a_server_that_is_away_for_the_whole_run_loses_nothing() {
    let port = nobody();
    let mut lab = Lab::new(port, FAST);
    lab.trial(7).await;
    let (account, said, dir, door) = lab.stop().await;
    assert_eq!((account.pending, account.offset), (7, 0));
    assert!(account.problem.unwrap().contains("Connection refused"));
    assert!(said[0].contains("Connection refused") && said[0].contains("metrics.lp.gz"), "{said:?}");
    let fake = Fake::at(TcpListener::bind(("127.0.0.1", port)).unwrap(), |_, _| OK);
    let say: Say = Arc::new(|_: &str| {});
    let account = replay(door, "lab", dir.path(), account.offset, FAST, &say).await.unwrap();
    assert_eq!((account.produced, account.acknowledged, account.adds_up()), (7, 7, true));
    assert_eq!(numbers(fake.asked().iter().flat_map(|asked| &asked.lines)), [0, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_misses_nothing() {
    let away = Arc::new(AtomicBool::new(false));
    let fake = {
        let away = away.clone();
        Fake::start(move |_, _| if away.load(Ordering::SeqCst) { Reply::Close } else { OK })
    };
    let mut lab = Lab::new(fake.port, FAST);
    lab.trial(3).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    away.store(true, Ordering::SeqCst);
    lab.trial(3).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    away.store(false, Ordering::SeqCst);
    lab.trial(3).await;
    let (account, said, ..) = lab.stop().await;
    assert_eq!((account.produced, account.acknowledged), (9, 9));
    assert!(said.iter().any(|line| line.contains("points wait")), "{said:?}");
    assert!(said.iter().any(|line| line == "sink lab: it answers again"), "{said:?}");
}

#[tokio::test]
async fn it_comes_back_no_earlier_than_asked_to() {
    for status in [429, 503] {
        let begun = Instant::now();
        let fake = Fake::start(move |number, _| match number {
            0 => Reply::Say(status, "retry-after: 1\r\n", "slow down"),
            _ => OK,
        });
        let mut lab = Lab::new(fake.port, FAST);
        lab.trial(2).await;
        while fake.asked().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(begun.elapsed() >= Duration::from_secs(1), "{status}");
        let (account, ..) = lab.stop().await;
        assert_eq!(account.acknowledged, 2);
    }
}

#[tokio::test]
async fn one_bad_line_is_put_aside_and_all_others_arrive() {
    let bad = 1234;
    let fake = Fake::start(move |_, lines| match lines.iter().any(|line| is_number(line, bad)) {
        true => Reply::Say(400, "", "unable to parse"),
        false => OK,
    });
    let mut lab = Lab::new(fake.port, FAST);
    lab.trial(3000).await;
    let (account, _, dir, _) = lab.stop().await;
    assert_eq!((account.acknowledged, account.quarantined), (2999, 1));
    let aside = std::fs::read_to_string(dir.path().join("quarantine-lab.lp")).unwrap();
    let (why, line) = aside.split_once('\n').unwrap();
    assert_eq!(why, "# it answers 400 unable to parse");
    assert!(is_number(line, bad) && line.ends_with('\n') && line.lines().count() == 1, "{line}");
    assert!(fake.asked().len() <= 25, "a search by halves takes few questions: {}", fake.asked().len());
}

#[tokio::test]
async fn a_server_that_refuses_every_line_is_left_alone() {
    let fake = Fake::start(|_, _| Reply::Say(400, "", "no such precision"));
    let mut lab = Lab::new(fake.port, FAST);
    lab.trial(1000).await;
    let (account, ..) = lab.stop().await;
    assert_eq!((account.quarantined, account.pending), (20, 980));
    assert!(account.problem.unwrap().starts_with("it refuses every line"));
}

#[tokio::test]
async fn what_is_too_large_comes_in_parts() {
    let fake = Fake::start(|_, lines| if lines.len() > 100 { Reply::Say(413, "", "too large") } else { OK });
    let mut lab = Lab::new(fake.port, FAST);
    lab.trial(1000).await;
    let (account, ..) = lab.stop().await;
    assert_eq!(account.acknowledged, 1000);
    let taken = fake.asked().into_iter().filter(|asked| asked.lines.len() <= 100).collect::<Vec<_>>();
    assert_eq!(numbers(taken.iter().flat_map(|asked| &asked.lines)), (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_left_out_is_counted_and_not_sent_again() {
    let fake = Fake::start(|_, _| Reply::Say(422, "", "partial write: field type conflict dropped=3"));
    let mut lab = Lab::new(fake.port, FAST);
    lab.trial(10).await;
    let (account, ..) = lab.stop().await;
    assert_eq!((account.acknowledged, account.rejected), (7, 3));
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn a_wrong_token_is_told_at_once_and_nothing_is_lost() {
    let fake = Fake::start(|_, _| Reply::Say(401, "", "the token hunter2-hunter2 is unknown here"));
    let mut lab = Lab::new(fake.port, FAST);
    lab.trial(10).await;
    while lab.said.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lab.trial(10).await;
    let (account, ..) = lab.stop().await;
    assert_eq!((account.pending, fake.asked().len()), (20, 1));
    assert_eq!(account.problem.as_deref(), Some("it answers 401 the token **** is unknown here"));
}

#[tokio::test]
async fn a_server_that_hangs_holds_up_nobody() {
    let fake = Fake::start(|_, _| Reply::Hang);
    let pace = Pace { last: Duration::from_millis(500), ..FAST };
    let mut lab = Lab::new(fake.port, pace);
    lab.trial(10).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    let (account, ..) = lab.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(account.pending, 10);
    assert!(account.problem.unwrap().starts_with("no answer within"));
}

#[tokio::test]
async fn a_batch_that_was_settled_in_part_is_counted_once() {
    // The first half is taken, then the server is gone.
    let fake = Fake::start(|number, _| match number {
        0 => Reply::Say(413, "", ""),
        1 => OK,
        _ => Reply::Close,
    });
    let mut lab = Lab::new(fake.port, FAST);
    lab.trial(10).await;
    let (account, _, dir, door) = lab.stop().await;
    assert_eq!((account.acknowledged, account.pending, account.offset), (5, 5, 0));
    let say: Say = Arc::new(|_: &str| {});
    let account = replay(door, "lab", dir.path(), 0, FAST, &say).await.unwrap();
    assert_eq!((account.produced, account.pending), (10, 10), "it is still gone");
    assert!(fake.asked().len() >= 2 + TRIES as usize);
}

#[tokio::test]
async fn what_the_disk_refuses_the_server_still_gets() {
    let fake = Fake::start(|_, _| OK);
    let mut lab = Lab::new(fake.port, FAST);
    lab.trial(3).await;
    lab.trial_into(10, Path::new("/dev/full")).await;
    assert_eq!((lab.total.written, lab.total.dropped), (3, 10));
    let (account, ..) = lab.stop().await;
    assert_eq!((account.acknowledged, account.dropped), (13, 0));
    // And where neither takes it, it is lost and counted.
    let mut lab = Lab::new(nobody(), FAST);
    lab.trial_into(10, Path::new("/dev/full")).await;
    let (account, ..) = lab.stop().await;
    assert_eq!((account.acknowledged, account.pending, account.dropped), (0, 0, 10));
}

#[test]
fn lines_are_halved_and_parted_between_lines() {
    let (first, second) = halves(b"a\nb\nc\n");
    assert_eq!((first, second), (&b"a\n"[..], &b"b\nc\n"[..]));
    let many = "x\n".repeat(2 * LINES + 1);
    assert_eq!(parts(many.as_bytes()).map(count).collect::<Vec<_>>(), [LINES as u64, LINES as u64, 1]);
}
