//! The page that a run leaves, in a browser: as it is on a desk and in a hand, by day and by night.

use super::super::fixture::not_run;
use super::Lab;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const HOW: &str = "install Chromium (package chromium)";

/// Chromium, under one of the names that it has.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|program| program.is_file())
}

/// Opens a page that cannot reach anything, and gives its elements on stdout and what it complained of on stderr.
fn open(browser: &Path, page: &Path, profile: &Path, width: u32, dark: bool) -> Output {
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"]);
    command.args(["--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND"]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg(format!("--window-size={width},900"));
    command.arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)));
    command.arg(format!("file://{}", page.display())).output().expect("the browser runs")
}

/// Presses a key on the first plot and asks the page what came of it, and whether it is wider than its window.
const PRESS: &str = "<script>
    const plot = document.querySelector('.plot');
    const press = (key) => plot.dispatchEvent(new KeyboardEvent('keydown', { key }));
    press('End');
    press('ArrowLeft');
    const told = [...plot.querySelectorAll('.u-value')].map((value) => value.textContent).join(' ');
    document.documentElement.dataset.told = told;
    document.documentElement.dataset.wide = document.documentElement.scrollWidth > innerWidth;
</script>";

#[test]
fn a_report_opens_without_errors_and_without_network() {
    let Some(browser) = browser() else {
        return not_run("live::cli::page (a report in a browser)", HOW);
    };
    let lab = Lab::new();
    let ended = lab.start(&["--set", "phase.one.lasts=3s"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let results = lab.results();
    let made = std::fs::read_to_string(results.join("report.html")).expect("a run leaves its page");
    let again = lab.call(&["report", results.to_str().expect("UTF-8"), "--html=again.html"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(lab.text("again.html"), made, "the page comes from the folder alone");
    let page = lab.path("pressed.html");
    std::fs::write(&page, made.replace("</body>", &format!("{PRESS}</body>"))).expect("a page");

    for (width, dark) in [(1280, false), (1280, true), (500, false), (500, true)] {
        let opened = open(&browser, &page, &lab.path("profile"), width, dark);
        let (dom, said) = (String::from_utf8_lossy(&opened.stdout), String::from_utf8_lossy(&opened.stderr));
        let complaints: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert_eq!(complaints, Vec::<&str>::new(), "at {width}, dark: {dark}");
        let root = dom.lines().find(|line| line.starts_with("<html")).unwrap_or_default();
        assert!(root.contains("data-drawn=\"yes\""), "the page's script did not end: {root}\n{said}");
        assert!(root.contains("data-wide=\"false\""), "at {width} it must be moved sideways: {root}");
        assert!(root.contains("data-told=\"") && root.contains("/s"), "a key moves the cursor: {root}");
        // Throughput, response times, replay lag, WAL, distribution; waits only where a sample caught one.
        assert!(dom.matches("<canvas").count() >= 5, "{}", dom.matches("<canvas").count());
    }
}

/// The points of a trial that lasts for two hours on a primary and two standbys, one a second of everything that a page
/// draws, none of them like the one before.
fn two_hours(common: &str, zero_ms: i64, to: &Path) {
    let file = std::fs::File::create(to).expect("a file");
    let mut file = GzEncoder::new(file, Compression::fast());
    for second in 1..=7200i64 {
        let (at, swing) = (zero_ms + second * 1000, (second * 7919) % 1000);
        let mut lines = String::new();
        let mut line = |measurement: &str, tags: &str, fields: String| {
            writeln!(lines, "{measurement},{common}{tags} {fields} {at}").expect("a string");
        };
        line("load_ops", ",load=app", format!("done={}i,errors={}i", 4000 + swing, i64::from(swing < 2)));
        let times = format!("response_p50=0.00{:03},response_p99=0.0{:03}", 100 + swing % 800, 100 + swing % 800);
        line("load_latency", ",load=app,transaction=tpcb", times);
        line("ledger", "", format!("acked={}i", second * 100 + swing % 3));
        line(
            "host",
            "",
            format!("cpu_user_ns={}i,cpu_system_ns=0i,io_waiting_us={}i", second * 10_i64.pow(9), second * swing),
        );
        for (node, role) in [("a", "primary"), ("s1", "standby"), ("s2", "standby")] {
            let of = format!(",node={node},role={role}");
            line(
                "server_processes",
                &of,
                format!("cpu_user_ns={}i,cpu_system_ns=7i,write_bytes={}i", second * 300_000 * swing, second * swing),
            );
            line("pg_stat_checkpointer", &of, format!("buffers_written={}i", second * swing));
            line("pg_stat_database", &of, format!("blks_read={}i", second * swing));
            if role == "primary" {
                line("pg_replication", &of, format!("current_lsn_bytes={}i", second * 5_000_000 + swing));
                line("pg_lock_tree", &of, format!("waiters={}i,roots=1i", swing % 8));
                for wait in ["CPU", "Lock", "LWLock", "IO", "IPC"] {
                    let tags = format!("{of},state=active,wait_event_type={wait}");
                    line("pg_ash", &tags, format!("sessions={}i", swing % 5));
                }
            } else {
                line("lag_visible", &format!("{of},source=a"), format!("upper_max=0.00{:03}", 100 + swing % 800));
                line(
                    "pg_stat_replication",
                    &format!(",node=a,application_name={node}"),
                    format!("replay_lag=0.00{swing:03}"),
                );
            }
        }
        file.write_all(lines.as_bytes()).expect("a file");
    }
    file.finish().expect("a file");
}

/// Two hours of points in a page of less than 5 MB, which a browser draws. How long it took is printed, and judged by
/// whoever reads it: this machine is busy with other tests.
#[test]
fn two_hours_stay_small() {
    let lab = Lab::new();
    let ended = lab.start(&[]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let results = lab.results();
    let mut trials = csv::Reader::from_path(results.join("trials.csv")).expect("trials.csv");
    let row = trials.records().next().expect("a trial").expect("a row");
    let zero: jiff::Timestamp = row[4].parse().expect("an instant");
    let common = format!("run_id={},scenario=tiny,variant={},trial=1", &row[0], &row[1]);
    two_hours(&common, zero.as_millisecond(), &results.join("metrics.lp.gz"));
    let kinds = ["fault.pause", "fault.undo", "standby.streaming"];
    let events: String = (1..700).fold(lab.text_of("events.csv"), |mut text, i| {
        let kind = kinds[i % 3];
        writeln!(text, "{},{},1,{},2026-11-25T10:00:00Z,{kind},s1,number {i}", &row[0], &row[1], i * 10_000)
            .expect("a string");
        text
    });
    std::fs::write(results.join("events.csv"), events).expect("events.csv");
    let made = lab.call(&["report", results.to_str().expect("UTF-8"), "--html=long.html"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let text = lab.text("long.html");
    assert!(text.len() > 200_000 && text.len() < 5_000_000, "{} bytes", text.len());
    assert!(text.contains("each point is the worst of"), "it is thinned out, and says so");
    let Some(browser) = browser() else {
        return not_run("live::cli::page (two hours in a browser)", HOW);
    };
    let page = lab.path("timed.html");
    let clock = "<script>document.documentElement.dataset.ms = Math.round(performance.now())</script></body>";
    std::fs::write(&page, text.replace("</body>", clock)).expect("a page");
    let opened = open(&browser, &page, &lab.path("profile"), 1280, false);
    let (dom, said) = (String::from_utf8_lossy(&opened.stdout), String::from_utf8_lossy(&opened.stderr));
    assert!(!said.contains("CONSOLE"), "{said}");
    let root = dom.lines().find(|line| line.starts_with("<html")).unwrap_or_default();
    assert!(root.contains("data-drawn=\"yes\""), "{root}\n{said}");
    let ms = root.split("data-ms=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("?");
    println!("two hours: {} kB, drawn {ms} ms after it was opened", text.len() / 1000);
}
