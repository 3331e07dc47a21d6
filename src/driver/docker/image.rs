//! Images: there or pulled, identified for the record, and asked which PostgreSQL they hold.

use super::container::Once;
use super::engine::{Engine, EngineError, asked};
use crate::pg::version::Version;
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder};
use futures_util::StreamExt;
use std::time::Duration;

const ASK_LIMIT: Duration = Duration::from_secs(60);
/// Prints the server's version, and the ids of the user whose servers are meant to be.
const QUESTION: &str = "postgres --version && id -u postgres && id -g postgres";

/// An image that is there, with a PostgreSQL server in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As it was asked for.
    pub reference: String,
    /// Its id on the engine: the digest of its configuration.
    pub id: String,
    /// The digest under which a registry has it, with its repository; absent for one that was built here.
    pub digest: Option<String>,
    /// The server's version.
    pub version: Version,
    /// User and group of `postgres` in it.
    pub postgres: (u32, u32),
}

impl Image {
    /// What identifies it in a record: the registry's digest, else the id.
    pub fn identity(&self) -> &str {
        self.digest.as_deref().unwrap_or(&self.id)
    }
}

/// Why an image is of no use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImageError {
    /// There is none such.
    #[error(
        "there is no image `{image}`: {said}\nhint: `docker image ls` lists what is here; `image = \"…\"` or --image names another"
    )]
    Missing {
        /// What was asked for.
        image: String,
        /// What the registry or the engine said.
        said: String,
    },
    /// The registry wants to know who asks.
    #[error(
        "the registry does not give out `{image}`: {said}\nhint: `docker login`, then `docker pull {image}`, then run this again"
    )]
    Credentials {
        /// What was asked for.
        image: String,
        /// What the registry said.
        said: String,
    },
    /// The registry is out of reach.
    #[error(
        "`{image}` is not here and cannot be pulled: {said}\n\
         hint: where there is no registry, `docker load` or `docker import` brings images, and `image = \"…\"` names one that is here"
    )]
    Registry {
        /// What was asked for.
        image: String,
        /// What the engine said.
        said: String,
    },
    /// It holds no server.
    #[error(
        "`{image}` is no image of a PostgreSQL server: {said}\nhint: it must be made as the image `postgres` is: `postgres` on its PATH, and a user `postgres`"
    )]
    NoServer {
        /// What was asked for.
        image: String,
        /// What it said.
        said: String,
    },
    /// Its programs are of another architecture.
    #[error(
        "`{image}` is made for another kind of processor than the engine's: {said}\n\
         hint: `docker pull --platform linux/amd64 {image}` (or linux/arm64) brings another, where there is one"
    )]
    Architecture {
        /// What was asked for.
        image: String,
        /// What it said.
        said: String,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Engine {
    /// The image `reference`, pulled when it is not here; `progress` is told how that goes. `run` is the run that
    /// asks, in whose name a container looks into it.
    pub async fn image(&self, reference: &str, run: &str, mut progress: impl FnMut(&str)) -> Result<Image, ImageError> {
        let inspect = || async {
            self.docker.inspect_image(reference).await.map_err(asked(format!("looking for the image `{reference}`")))
        };
        let found = match inspect().await {
            Err(error) if error.status() == Some(404) => {
                self.pull(reference, &mut progress).await?;
                inspect().await?
            }
            found => found?,
        };
        let id = found.id.unwrap_or_default();
        let (version, postgres) = self.look_into(reference, &id, run).await?;
        let digest = digest_of(reference, found.repo_digests.unwrap_or_default());
        Ok(Image { reference: reference.to_owned(), id, digest, version, postgres })
    }

    /// The names of all images that are here, in order.
    pub async fn images(&self) -> Result<Vec<String>, EngineError> {
        let options = ListImagesOptionsBuilder::new().build();
        let images = self.docker.list_images(Some(options)).await.map_err(asked("listing images"))?;
        let mut names: Vec<String> = images.into_iter().flat_map(|image| image.repo_tags).collect();
        names.sort();
        Ok(names)
    }

    async fn pull(&self, reference: &str, progress: &mut impl FnMut(&str)) -> Result<(), ImageError> {
        let (name, tag) = tagged(reference);
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
        let mut pulling = Box::pin(self.docker.create_image(Some(options), None, None));
        while let Some(step) = pulling.next().await {
            let step = step.map_err(asked("pulling"));
            let step = step.map_err(|error| why_not(reference, error))?;
            let layer = step.id.map(|id| format!("{id}: ")).unwrap_or_default();
            let of = step.progress_detail.and_then(|detail| Some((detail.current?, detail.total?)));
            let share = of.filter(|(_, total)| *total > 0).map(|(done, total)| format!(" {}%", done * 100 / total));
            if let Some(status) = step.status {
                progress(&format!("{layer}{status}{}", share.unwrap_or_default()));
            }
        }
        Ok(())
    }

    async fn look_into(&self, reference: &str, id: &str, run: &str) -> Result<(Version, (u32, u32)), ImageError> {
        let command = ["/bin/sh", "-c", QUESTION].map(str::to_owned).to_vec();
        let once = Once { run, image: id, entrypoint: Some(command), limit: ASK_LIMIT, ..Once::default() };
        let no_server = |said: &str| ImageError::NoServer { image: reference.to_owned(), said: said.trim().to_owned() };
        let architecture = |said: &str| {
            said.to_lowercase()
                .contains("exec format error")
                .then(|| ImageError::Architecture { image: reference.to_owned(), said: said.trim().to_owned() })
        };
        let output = match self.once(once).await {
            // No shell in it, or none that starts.
            Err(EngineError::Refused { status: 400, said, .. }) => {
                return Err(architecture(&said).unwrap_or_else(|| no_server(&said)));
            }
            output => output?,
        };
        if let Some(error) = architecture(&output.stderr) {
            return Err(error);
        }
        if output.status != 0 {
            return Err(no_server(&format!("`{QUESTION}` exited with status {}: {}", output.status, output.stderr)));
        }
        parse(&output.stdout).ok_or_else(|| no_server(&format!("`{QUESTION}` printed `{}`", output.stdout.trim())))
    }
}

fn parse(printed: &str) -> Option<(Version, (u32, u32))> {
    let mut lines = printed.lines();
    let version = Version::of_program(lines.next()?)?;
    let mut id = || lines.next()?.trim().parse().ok();
    Some((version, (id()?, id()?)))
}

/// Name and tag; a reference without tag and digest means `latest`, and not all tags as the interface has it.
fn tagged(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name, digest);
    }
    match reference.rsplit_once(':') {
        // What follows the last colon may be a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

/// The digest under which a registry has an image: of several names, the one that was asked for.
fn digest_of(reference: &str, digests: Vec<String>) -> Option<String> {
    let (name, _) = tagged(reference);
    let asked = |digest: &&String| digest.split('@').next().map(familiar) == Some(familiar(name));
    digests.iter().find(asked).or(digests.first()).cloned()
}

/// A repository's name as engines show it: without their own registry's.
fn familiar(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

fn why_not(reference: &str, error: EngineError) -> ImageError {
    let EngineError::Refused { said, status, .. } = &error else { return error.into() };
    let (image, said) = (reference.to_owned(), said.clone());
    let says = |words: &[&str]| words.iter().any(|word| said.to_lowercase().contains(word));
    if says(&["no space left"]) {
        return error.into();
    }
    // Registries say "denied" of what does not exist, too, for they do not tell strangers what does.
    if says(&["unauthorized", "authentication required", "no basic auth", "denied"]) && !says(&["does not exist"]) {
        ImageError::Credentials { image, said }
    } else if *status == 404
        || says(&["not found", "manifest unknown", "does not exist"]) && !says(&["lookup", "no such host"])
    {
        ImageError::Missing { image, said }
    } else {
        ImageError::Registry { image, said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_a_tag() {
        for (reference, expected) in [
            ("postgres", ("postgres", "latest")),
            ("postgres:17", ("postgres", "17")),
            ("host:5000/postgres", ("host:5000/postgres", "latest")),
            ("host:5000/postgres:17", ("host:5000/postgres", "17")),
            ("postgres@sha256:ab", ("postgres", "sha256:ab")),
        ] {
            assert_eq!(tagged(reference), expected);
        }
    }

    #[test]
    fn the_digest_is_of_the_name_that_was_asked_for() {
        let digests = || ["here:5000/pg@sha256:aa", "postgres@sha256:bb"].map(str::to_owned).to_vec();
        for (reference, expected) in [
            ("postgres:17", "postgres@sha256:bb"),
            ("docker.io/library/postgres:17", "postgres@sha256:bb"),
            ("here:5000/pg", "here:5000/pg@sha256:aa"),
            ("another-tag-of-it:1", "here:5000/pg@sha256:aa"),
        ] {
            assert_eq!(digest_of(reference, digests()).as_deref(), Some(expected));
        }
        assert_eq!(digest_of("built-here:1", Vec::new()), None);
    }

    #[test]
    fn tells_why_an_image_is_not_to_be_had() {
        let why = |status, said: &str| {
            why_not("x", EngineError::Refused { what: String::new(), status, said: said.to_owned() }).to_string()
        };
        assert!(why(404, "manifest for x:latest not found: manifest unknown").starts_with("there is no image `x`"));
        assert!(
            why(404, "pull access denied for x, repository does not exist or may require 'docker login'")
                .starts_with("there is no image `x`")
        );
        assert!(
            why(500, "Head https://r/v2/x: unauthorized: authentication required").contains("hint: `docker login`")
        );
        assert!(
            why(0, "write /x: no space left on device").contains("\nhint: the disk of the engine's machine is full")
        );
        let offline = "Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io: no such host";
        assert!(why(500, offline).starts_with("`x` is not here and cannot be pulled: "));
    }

    #[test]
    fn reads_what_an_image_says_of_itself() {
        let version = "postgres (PostgreSQL) 17.6 (Debian 17.6-0+deb13u1)\n999\n998\n";
        assert_eq!(parse(version), Some((Version { major: 17, minor: 6 }, (999, 998))));
        assert_eq!(parse("postgres (PostgreSQL) 17.6\n"), None);
    }
}
