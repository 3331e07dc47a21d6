//! In which order nodes can start.

use super::BuildError;
use super::node::NodeSpec;
use super::settings;

/// The nodes in the order in which they can start: each after the one it follows.
pub(super) fn in_order(nodes: &[NodeSpec]) -> Result<Vec<&NodeSpec>, BuildError> {
    let wrong = |text: String| Err(BuildError::Topology(text));
    let mut ordered: Vec<&NodeSpec> = nodes.iter().filter(|node| node.primary).collect();
    match ordered.as_slice() {
        [_] => {}
        several => return wrong(format!("a cluster has one primary, this one {}", several.len())),
    }
    ordered.extend(nodes.iter().filter(|node| !node.primary && node.follows.is_none()));
    for node in nodes {
        if nodes.iter().filter(|other| other.name == node.name).count() > 1 {
            return wrong(format!("there are several nodes `{}`", node.name));
        }
        if node.primary && node.follows.is_some() {
            return wrong(format!("node `{}`: a primary follows nobody", node.name));
        }
        for (setting, _) in &node.settings {
            if let Some(why) = settings::reserved(setting) {
                return Err(BuildError::Reserved { node: node.name.clone(), setting: setting.clone(), why });
            }
        }
    }
    while ordered.len() < nodes.len() {
        let is_in = |name: &str| ordered.iter().any(|node| node.name == name);
        let follows_one = |node: &&NodeSpec| !is_in(&node.name) && node.follows.as_deref().is_some_and(is_in);
        match nodes.iter().find(follows_one) {
            Some(next) => ordered.push(next),
            None => {
                let stray: Vec<&str> = nodes.iter().map(|n| n.name.as_str()).filter(|name| !is_in(name)).collect();
                return wrong(format!("no way leads down to {}", stray.join(", ")));
            }
        }
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Make;
    use crate::pg::programs::Programs;
    use crate::pg::version::Version;

    fn node(name: &str, follows: Option<&str>) -> NodeSpec {
        NodeSpec {
            name: name.to_owned(),
            primary: follows.is_none(),
            follows: follows.map(str::to_owned),
            site: None,
            slot: false,
            priority: 100,
            settings: Vec::new(),
            dir: None,
            make: Make::Process(Programs { dir: "/".into(), version: Version { major: 15, minor: 0 } }),
            limits: Default::default(),
            disk: None,
        }
    }

    #[test]
    fn each_node_comes_after_the_one_it_follows() {
        let nodes = [node("c", Some("b")), node("b", Some("a")), node("a", None), node("d", Some("a"))];
        let names: Vec<&str> = in_order(&nodes).unwrap().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn what_is_no_cluster_is_refused() {
        let said = |nodes: &[NodeSpec]| in_order(nodes).unwrap_err().to_string();
        assert!(said(&[]).contains("this one 0"));
        assert!(said(&[node("a", None), node("b", None)]).contains("this one 2"));
        assert!(said(&[node("a", None), node("b", Some("c")), node("c", Some("b"))]).contains("to b, c"));
        assert!(said(&[node("a", None), node("b", Some("a")), node("b", Some("a"))]).contains("several nodes `b`"));
        let mut reserved = node("a", None);
        reserved.settings.push(("Port".to_owned(), "5432".to_owned()));
        assert!(said(&[reserved]).contains("`Port` cannot be set"));
    }
}
