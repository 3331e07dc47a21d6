use super::wants::tests::wants;
use super::*;

const MB: usize = 1 << 20;

fn store() -> (tempfile::TempDir, Store) {
    let work = tempfile::tempdir().unwrap();
    let store = Store::in_work(&fs::canonicalize(work.path()).unwrap()).unwrap();
    (work, store)
}

/// Makes the template of this scale, of a megabyte.
async fn made(store: &Store, scale: u32) -> Held {
    let Found::Missing(vacant) = store.find("pgbench", &wants(scale), |_| {}).await.unwrap() else { panic!("there") };
    let making = vacant.making(store, "r1");
    fs::create_dir(&making).unwrap();
    fs::write(making.join(MARK), "r1").unwrap();
    fs::create_dir(making.join("data")).unwrap();
    fs::write(making.join("data/file"), vec![7; MB]).unwrap();
    assert!(store.list().unwrap().iter().all(|kept| kept.name != vacant.name()), "a half-made one is listed");
    vacant.fill(store, &making, "r1", Duration::from_secs(1), serde_json::Value::Null).unwrap().unwrap()
}

fn aged(held: &Held, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 86_400);
    OpenOptions::new().append(true).open(held.dir.join(CARD)).unwrap().set_modified(then).unwrap();
}

#[tokio::test]
async fn what_was_made_is_found_and_stands_while_it_is_used() {
    let (_work, store) = store();
    let held = made(&store, 1).await;
    assert!(held.card.bytes >= MB as u64 && held.dir.join("data/file").exists());
    let Found::There(again) = store.find("pgbench", &wants(1), |_| {}).await.unwrap() else { panic!("made again") };
    assert_eq!(again.card, held.card);
    let name = store.list().unwrap()[0].name.clone();
    assert!(matches!(store.remove(&name), Err(StoreError::InUse(_))));
    assert_eq!(store.prune(0).unwrap().in_use, held.card.bytes);
    drop((held, again));
    assert_eq!(store.remove(&name[..10]).unwrap().name, name);
    let left: Vec<_> = fs::read_dir(store.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(matches!(store.remove(&name), Err(StoreError::Unknown(_))));
}

#[tokio::test]
async fn a_second_one_waits_for_the_first_and_does_not_make_it_again() {
    let (_work, store) = store();
    let Found::Missing(vacant) = store.find("pgbench", &wants(1), |_| {}).await.unwrap() else { panic!("there") };
    let waited = std::sync::atomic::AtomicBool::new(false);
    let one = wants(1);
    let find = store.find("pgbench", &one, |_| waited.store(true, std::sync::atomic::Ordering::Relaxed));
    assert!(tokio::time::timeout(Duration::from_millis(300), find).await.is_err());
    assert!(waited.into_inner());
    // The first one fails: its place is free again.
    drop(vacant);
    assert!(matches!(store.find("pgbench", &wants(1), |_| {}).await.unwrap(), Found::Missing(_)));
}

#[tokio::test]
async fn the_least_recently_used_go_first() {
    let (_work, store) = store();
    for (scale, days) in [(1, 3), (2, 1), (3, 2)] {
        aged(&made(&store, scale).await, days);
    }
    let each = store.list().unwrap()[0].card.as_ref().unwrap().bytes;
    let pruned = store.prune(2 * each).unwrap();
    assert_eq!(pruned.removed, [(wants(1).name("pgbench"), each)]);
    assert_eq!((pruned.left, pruned.in_use), (2 * each, 0));
    let used = store.find("pgbench", &wants(3), |_| {}).await.unwrap();
    drop(used);
    assert_eq!(store.prune(each).unwrap().removed[0].0, wants(2).name("pgbench"), "using one makes it young");
}

#[tokio::test]
async fn without_its_state_file_a_template_is_none() {
    let (_work, store) = store();
    let held = made(&store, 1).await;
    let (dir, name) = (held.dir.clone(), wants(1).name("pgbench"));
    drop(held);
    fs::remove_file(dir.join(CARD)).unwrap();
    assert!(store.list().unwrap()[0].card.is_none());
    assert!(matches!(store.find("pgbench", &wants(1), |_| {}).await.unwrap(), Found::Missing(_)));
    assert!(!dir.exists(), "what was left is in the way of a new one");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("theirs"), "").unwrap();
    assert!(store.remove(&name).is_err() && dir.join("theirs").exists(), "what bears no mark is not ours");
}

#[tokio::test]
async fn a_half_made_one_goes_when_nobody_knows_its_run_and_nobody_makes_it() {
    let (_work, store) = store();
    let Found::Missing(vacant) = store.find("pgbench", &wants(1), |_| {}).await.unwrap() else { panic!("there") };
    let making = vacant.making(&store, "r1");
    fs::create_dir_all(making.join("data")).unwrap();
    fs::write(making.join(MARK), "r1").unwrap();
    assert_eq!(store.sweep(|_| false).unwrap(), Vec::<PathBuf>::new(), "it is being made");
    drop(vacant);
    assert_eq!(store.sweep(|run| run == "r1").unwrap(), Vec::<PathBuf>::new(), "its inventory names it");
    assert_eq!(store.forsaken(|run| run == "r2").unwrap(), std::slice::from_ref(&making));
    assert!(making.exists(), "only listed");
    assert_eq!(store.sweep(|_| false).unwrap(), std::slice::from_ref(&making));
    assert!(!making.exists());
    let theirs = store.dir().join(".making-r1-theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join(MARK), "r2").unwrap();
    assert_eq!(store.sweep(|_| false).unwrap(), Vec::<PathBuf>::new(), "its mark says another run than its name");
}

#[test]
fn the_password_is_the_same_every_time_and_nobody_elses() {
    let (_work, store) = store();
    let first = store.password().unwrap();
    assert_eq!(store.password().unwrap().expose(), first.expose());
    let mode = fs::metadata(store.dir().join(PASSWORD)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_store_is_listed_once() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("state/templates");
    for store in ["/a", "/b", "/a"] {
        enter(&list, Path::new(store)).unwrap();
    }
    assert_eq!(fs::read_to_string(list).unwrap(), "/a\n/b\n");
}
