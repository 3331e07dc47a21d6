//! Making a clone that outlives this program, and putting it on the shelf.

use crate::base::inventory::Inventory;
use crate::base::proc::Identity;
use crate::base::units::Time;
use crate::base::user::User;
use crate::clean;
use crate::clean::watchdog::Watchdog;
use crate::cli::Interrupted;
use crate::clone::card::{Card, From, Ready};
use crate::clone::shelf::{Shelf, State};
use crate::clone::{Attempt, Base, Caller, Method, Mode, Order, Phase, Reach, Source, ThinClone, create};
use crate::driver::docker::{Dock, Docker, Network};
use crate::driver::{Make, Setup, Workplace, default_work};
use crate::pg::conf::random_password;
use crate::pg::conninfo::{self, Environment};
use crate::pg::programs::Installed;
use crate::pg::version::Major;
use crate::pg::{Host, Login, conf};
use crate::snapshot::label::Label;
use anyhow::{Context, bail};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

/// A clone that is wished for.
pub(super) struct Wish {
    pub name: String,
    pub owner: String,
    pub expires: Option<Time>,
    /// The connection string, with its password.
    pub conninfo: String,
    pub from: From,
}

/// A clone that was made.
pub(super) struct Made {
    pub card: Card,
    pub ready: Ready,
}

/// Makes it and lets it stay. `port`: the one that it had before. When that fails, nothing of it is left.
pub(super) async fn make(shelf: &Shelf, wish: Wish, port: Option<u16>) -> anyhow::Result<Made> {
    let base = match wish.from.recipe.mode {
        Mode::Precooked(_) => Some(Box::new(base(shelf, &wish).await?)),
        Mode::Recovery(_) | Mode::Resetwal(_) => None,
    };
    one(shelf, wish, What::Clone { port, base }).await
}

/// What is made.
enum What {
    /// A clone; of that base, if of any.
    Clone { port: Option<u16>, base: Option<Box<Source>> },
    /// A base for others.
    Base,
}

/// The base of clones of this source, which is made when there is none.
async fn base(shelf: &Shelf, wish: &Wish) -> anyhow::Result<Source> {
    let name = base_name(&wish.from.data_dir);
    let known = tokio::task::block_in_place(|| shelf.all())?;
    let cooked = known.iter().find(|item| item.state == State::Base && item.card.name == name);
    let ready = match cooked {
        Some(item) => item.card.ready.clone(),
        None => {
            tell(&format!("cooking the base `{name}`: a clone that recovers and is shut down"));
            let wish = Wish { name: name.clone(), expires: None, from: wish.from.clone(), ..wish.to_owned() };
            Some(Box::pin(one(shelf, wish, What::Base)).await?.ready)
        }
    };
    let cooked = ready.and_then(|ready| Some((ready.base?, ready.data)));
    let (cooked, data) = cooked.with_context(|| format!("`{name}` is no base"))?;
    cooked.as_source(name, &data).map_err(Into::into)
}

/// One base for each directory.
fn base_name(data_dir: &Path) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in data_dir.as_os_str().as_encoded_bytes() {
        // FNV-1a: a short name that is the same in every call.
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("base-{hash:016x}")
}

impl Wish {
    fn to_owned(&self) -> Wish {
        Wish {
            name: self.name.clone(),
            owner: self.owner.clone(),
            expires: self.expires,
            conninfo: self.conninfo.clone(),
            from: self.from.clone(),
        }
    }
}

/// Makes a clone or a base under a card of its own.
async fn one(shelf: &Shelf, wish: Wish, what: What) -> anyhow::Result<Made> {
    let random = random_password().expose()[..8].to_lowercase();
    let mut card = Card {
        run: format!("clone-{}-{random}", wish.name),
        name: wish.name,
        owner: wish.owner,
        created_at: format!("{:.3}", jiff::Timestamp::now()),
        expires: wish.expires,
        from: wish.from,
        maker: Identity::own()?,
        ready: None,
    };
    shelf.put(&card)?;
    let made = on_the_shelf(shelf, &mut card, &wish.conninfo, what).await;
    match made {
        Ok(ready) => Ok(Made { card, ready }),
        Err(error) => {
            let gone = shelf.get(&card.name).is_ok_and(|item| item.state == State::Making && item.is_nothing());
            if gone {
                shelf.take_off(&card.name)?;
            }
            Err(error)
        }
    }
}

async fn on_the_shelf(shelf: &Shelf, card: &mut Card, conninfo: &str, what: What) -> anyhow::Result<Ready> {
    let path = shelf.inventory(&card.name);
    let inventory = Inventory::create(shelf.index(), &path, &card.run);
    let inventory = inventory.with_context(|| format!("cannot write {}", path.display()))?;
    let program = std::env::current_exe().context("cannot tell which file this program is")?;
    let watchdog = Watchdog::start(&program, inventory.path()).context("cannot start the watchdog")?;
    let made = with_inventory(shelf, card, conninfo, what, &inventory).await;
    if made.is_err() {
        for failure in clean::undo_own(&inventory).errors {
            tell(&format!("warning: {failure}"));
        }
    }
    watchdog.farewell().context("the watchdog did not end")?;
    made
}

async fn with_inventory(
    shelf: &Shelf,
    card: &mut Card,
    conninfo: &str,
    what: What,
    inventory: &Arc<Inventory>,
) -> anyhow::Result<Ready> {
    let from = &card.from;
    let mut resolved = conninfo::resolve(conninfo, &Environment::of_process())?;
    for note in std::mem::take(&mut resolved.notes) {
        tell(&format!("note: {note}"));
    }
    let host = resolved.into_host("source");
    // The host has a login of its own.
    let login = Login {
        user: String::new(),
        password: random_password(),
        dbname: "postgres".to_owned(),
        application_name: "pgbench-rs clone".to_owned(),
    };
    let dbname = host.who(&login).dbname.to_owned();
    let running = || Source::running("the source", &from.data_dir, host, login);
    let (source, port, base) = match what {
        What::Clone { base: Some(base), port } => (*base, port, false),
        What::Clone { base: None, port } => (running()?, port, false),
        What::Base => (running()?, None, true),
    };
    let source = Arc::new(source);
    let (place, make, within) = place(card, &source, inventory).await?;
    let order = Order {
        name: card.name.clone(),
        within,
        dir: "c".to_owned(),
        make,
        limits: Default::default(),
        log: None,
        reach: Reach::Socket,
        port,
        dbname: Some(dbname),
        label: Label { owner: card.owner.clone(), expires: card.expires_at().map(|at| at.to_string()) },
    };
    let ready = match base {
        true => cooked(&place, &source, card, order).await?,
        false => cloned(&place, &source, card, order).await?,
    };
    card.ready = Some(ready.clone());
    shelf.change(card)?;
    Ok(ready)
}

/// Where it is made, with what, and in which directory.
async fn place(
    card: &Card,
    source: &Source,
    inventory: &Arc<Inventory>,
) -> anyhow::Result<(Arc<Workplace>, Make, PathBuf)> {
    let from = &card.from;
    let data = source.data();
    let owner = std::fs::metadata(data).with_context(|| data.display().to_string())?.uid();
    let own = nix::unistd::geteuid();
    let user = match own.is_root() {
        true if owner == 0 => bail!("{} belongs to root, as whom no server runs", data.display()),
        true => Some(User::with_id(owner)?.with_context(|| format!("there is no user with the id {owner}"))?),
        // Whoever is not the owner is told so when the source is looked at.
        false => None,
    };
    let version = std::fs::read_to_string(data.join("PG_VERSION")).with_context(|| data.display().to_string())?;
    let major: Major = version.trim().parse().map_err(anyhow::Error::msg)?;
    let named: Vec<PathBuf> = from.postgres.iter().cloned().collect();
    let installed = match (Installed::find(&named), &from.image) {
        (Err(_), Some(_)) => Installed::default(),
        (installed, _) => installed?,
    };
    let work = match &from.to {
        Some(to) => to.clone(),
        None => home(source, from.recipe.method, inventory).await?,
    };
    if std::fs::canonicalize(&work).is_ok_and(|work| work.starts_with(data)) {
        bail!("{} lies in the source's own directory\nhint: name another with --to", work.display());
    }
    let setup = Setup {
        run: card.run.clone(),
        installed: installed.clone(),
        user,
        inventory: inventory.clone(),
        work,
        logs: inventory.path().parent().map(Path::to_owned).unwrap_or_default(),
        start_limit: *from.start_limit,
        keep: true,
    };
    let place = Workplace::open(setup).await?;
    let make = match &from.image {
        None => Make::Process(installed.choose(Some(major))?.clone()),
        Some(image) => {
            let network = match (from.host_network, from.no_egress) {
                (true, _) => Network::Host,
                (false, true) => Network::Internal,
                (false, false) => Network::Bridge,
            };
            let settings = Docker { image: Some(image.clone()), network, ..Docker::default() };
            let dock = Dock::open(&place, &settings).await?;
            let image = dock.image(&settings.reference(major.0), tell).await?;
            Make::Docker { dock, image: Arc::new(image) }
        }
    };
    let within = place.dir().to_owned();
    Ok((place, make, within))
}

/// Where clones go when nobody says: beside the source, and where nothing is shared with it, at the user's own place.
async fn home(source: &Source, method: Method, inventory: &Arc<Inventory>) -> anyhow::Result<PathBuf> {
    match source.home(method, inventory).await {
        Ok(home) => Ok(home),
        Err(_) if matches!(method, Method::Copy | Method::Basebackup) => Ok(default_work()?),
        Err(error) => Err(anyhow::Error::new(error).context("hint: name a directory with --to")),
    }
}

async fn cloned(place: &Arc<Workplace>, source: &Arc<Source>, card: &Card, order: Order) -> anyhow::Result<Ready> {
    let (caller, ear) = Ear::new();
    let making = create(place, source, &card.from.recipe, order, caller);
    let attempt: Attempt = ear.listen(making).await?;
    let seconds = attempt.ready().map(|ready| ready.as_secs_f64());
    let thin = attempt.outcome?;
    let ready = ready(&thin, &attempt.facts, attempt.spans, seconds);
    // From here on it stays.
    thin.keep()?;
    Ok(ready)
}

async fn cooked(place: &Arc<Workplace>, source: &Arc<Source>, card: &Card, order: Order) -> anyhow::Result<Ready> {
    let (caller, ear) = Ear::new();
    let cooking = Base::cook(place, source, &card.from.recipe, order, caller);
    let base = ear.listen(cooking).await?.map_err(|uncooked| uncooked.cause)?;
    let cooked = Some(base.cooked());
    let ready = Ready { base: cooked, ..ready(base.thin(), &base.facts, base.spans.clone(), None) };
    base.thin().keep()?;
    Ok(ready)
}

fn ready(
    thin: &ThinClone,
    facts: &crate::clone::Facts,
    phases: Vec<crate::clone::Span>,
    seconds: Option<f64>,
) -> Ready {
    Ready {
        conninfo: conninfo_of(thin.host(), &thin.login("")),
        port: thin.host().port,
        home: thin.home().to_owned(),
        data: thin.data().to_owned(),
        copy: thin.copy().cloned(),
        method: facts.method,
        protocol: facts.protocol,
        mode: facts.mode.clone(),
        is_unsafe: facts.is_unsafe,
        seconds,
        phases,
        kept_out: facts.kept_out.clone(),
        prepared: facts.prepared.clone(),
        collations: facts.collations.clone(),
        base: None,
    }
}

fn conninfo_of(host: &Host, login: &Login) -> String {
    let (who, port) = (host.who(login), host.port.to_string());
    conf::conninfo(&[("host", &host.host), ("port", &port), ("user", who.user), ("dbname", who.dbname)])
}

/// Hears of the phases of a clone's making, and of signals.
struct Ear {
    seen: watch::Receiver<Option<Phase>>,
    wanted: oneshot::Sender<()>,
}

impl Ear {
    fn new() -> (Caller, Ear) {
        let ((told, seen), (wanted, unwanted)) = (watch::channel(None), oneshot::channel());
        (Caller { told: Some(told), unwanted: Some(unwanted) }, Ear { seen, wanted })
    }

    /// The work's result; says each phase. When a signal comes, the clone is no longer wanted, and its making is waited
    /// for until it has undone itself.
    async fn listen<T>(mut self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                Ok(()) = self.seen.changed() => {
                    let phase = *self.seen.borrow_and_update();
                    if let Some(phase) = phase {
                        tell(phase.name());
                    }
                    continue;
                }
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            tell("interrupted: undoing what was made");
            drop(self.wanted);
            work.await;
            return Err(Interrupted.into());
        }
    }
}

/// To people, not to programs.
fn tell(text: &str) {
    // Nobody is left who reads it, or somebody is.
    let _ = writeln!(std::io::stderr(), "{text}");
}
