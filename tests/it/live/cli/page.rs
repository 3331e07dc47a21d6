//! The page that a run leaves, in a browser: as it is on a desk and in a hand, by day and by night.

use super::super::fixture::not_run;
use super::Lab;
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
    command.args(["--enable-logging=stderr", "--virtual-time-budget=5000", "--host-resolver-rules=MAP * ~NOTFOUND"]);
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
