//! What a trial stands on: servers made for it from a template, or somebody else's with tables of ours.

use super::Lab;
use super::signals::Stop;
use super::templates::Need;
use super::trial::Ended;
use crate::cluster::Cluster;
use crate::cluster::node::NodeSpec;
use crate::cluster::template::Template;
use crate::driver::Make;
use crate::driver::start::whole;
use crate::plan;
use crate::record::Status;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Role, Scenario};

impl Lab {
    pub(super) fn specs(&self, scenario: &Scenario) -> anyhow::Result<Vec<NodeSpec>> {
        let spec = |node: NodePlan| self.makes.of(&node).cloned().map(|make| spec(node, make));
        scenario.nodes().into_iter().map(spec).collect()
    }

    /// The cluster of a trial; else how the trial ends.
    pub(super) async fn up(
        &self,
        scenario: &Scenario,
        trial: &plan::Trial,
        specs: &[NodeSpec],
        stop: &Stop,
    ) -> Result<Cluster, (Status, String)> {
        let interrupted = |when: &str| (Status::Interrupted, format!("interrupted {when}"));
        let ways = scenario.ways();
        let mut asked = stop.clone();
        let position = trial.position.to_string();
        let cluster = if scenario.is_external() {
            tokio::select! {
                cluster = Cluster::attach(&self.place, specs, &ways) => cluster,
                () = asked.wait() => return Err(interrupted("while servers were connected to")),
            }
        } else {
            let mut templates: Vec<&Template> = Vec::new();
            for spec in specs {
                let need = Need::of(scenario, &spec.make).map_err(|error| (Status::Failed, whole(error.as_ref())))?;
                templates.push(self.templates.get(&need).ok_or_else(|| interrupted("before its template was made"))?);
            }
            tokio::select! {
                cluster = Cluster::up(&self.place, &position, &templates, specs, &ways) => cluster,
                // What stands half built is undone from the inventory at the end of the run.
                () = asked.wait() => return Err(interrupted("while servers started")),
            }
        };
        cluster.map_err(|error| (Status::Failed, error.to_string()))
    }

    /// What a template would hold, on servers that have none.
    pub(super) async fn tables(
        &self,
        cluster: &Cluster,
        scenario: &Scenario,
        stop: &Stop,
    ) -> Result<(), (Status, String)> {
        if !cluster.is_external() {
            return Ok(());
        }
        let mut asked = stop.clone();
        let mut guests = self.guests.lock().await;
        tokio::select! {
            ready = guests.ready(cluster, scenario, &self.place, &self.progress) => {
                ready.map_err(|error| (Status::Failed, whole(error.as_ref())))
            }
            () = asked.wait() => Err((Status::Interrupted, "interrupted while tables were made".to_owned())),
        }
    }

    pub(super) async fn down(&self, cluster: &Cluster, ended: &mut Ended) {
        if let Err(error) = cluster.down().await {
            ended.otherwise(Status::Failed, error.to_string());
        }
    }
}

fn spec(node: NodePlan, make: Make) -> NodeSpec {
    NodeSpec {
        name: node.name,
        primary: node.role == Role::Primary,
        follows: node.follows,
        site: node.site,
        slot: node.slot,
        priority: node.priority,
        settings: node.settings.into_iter().collect(),
        dir: node.dir,
        make,
        limits: node.limits,
        disk: node.disk,
    }
}
