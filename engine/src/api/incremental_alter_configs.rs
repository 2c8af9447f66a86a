//! IncrementalAlterConfigs (rule D2): from single changes to what the controller is asked, and back.
//!
//! Always: the answer has the resources of the request in its order; what is refused here never reaches the controller.

use super::describe_configs::{BROKER, GROUP, TOPIC, is_this_node};
use super::errors;
use super::settings::Settings;
use super::topics::unknown_topic;
use crate::machine::controller::{Alteration, Altered, Change, RefusalKind, Refused as Refusal};
use crate::machine::image::Image;
use crate::machine::topic_config::shown;
use millstream_net::wire::api::{
    AlterConfigsResource, AlterConfigsResult, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use millstream_net::wire::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet};

/// BOUND: resources of one request; each may take room in the quorum's log.
pub const RESOURCES_MAX: usize = 10_000;
/// BOUND: the name of a group.
const GROUP_BYTES_MAX: usize = 8_192;
/// BOUND: changes of one resource.
const CHANGES_MAX: usize = 100;
/// What a changed value takes in the quorum's log beside key, value and the topic's name, at the most.
const RECORD_BYTES: u64 = 256;

/// The answer as far as the controller is not needed for it.
#[derive(Debug)]
pub struct AlterAnswer {
    response: IncrementalAlterConfigsResponse,
    /// The places of what the controller is asked about, in its order.
    asked: Vec<usize>,
}

type Refused = (ErrorCode, String);

/// What the changes take in the quorum's log, at the most; nothing where they are only looked at.
pub fn record_bytes(request: &IncrementalAlterConfigsRequest) -> u64 {
    if request.validate_only {
        return 0;
    }
    let of_change = |change: &AlterableConfig| {
        let value = change.value.as_ref().map_or(0, |value| value.len());
        RECORD_BYTES + (change.name.len() + value) as u64
    };
    let of_resource = |resource: &AlterConfigsResource| -> u64 {
        let name = resource.resource_name.len() as u64;
        let changes = resource.configs.iter().take(CHANGES_MAX);
        changes.map(|change| name + of_change(change)).sum()
    };
    request.resources.iter().map(of_resource).sum()
}

/// The answer where every resource has the same error.
pub fn refuse_all(
    request: &IncrementalAlterConfigsRequest,
    code: ErrorCode,
    message: Option<&'static str>,
) -> IncrementalAlterConfigsResponse {
    let results = request.resources.iter().map(|resource| AlterConfigsResult {
        error_code: code,
        error_message: message.map(Str::from_static),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
    });
    IncrementalAlterConfigsResponse {
        responses: results.collect(),
        ..IncrementalAlterConfigsResponse::default()
    }
}

/// What the controller is asked, and the answer to the rest.
pub fn plan(
    request: &IncrementalAlterConfigsRequest,
    settings: &Settings,
    image: &Image,
) -> (Vec<Alteration>, AlterAnswer) {
    let mut response = refuse_all(request, ErrorCode::None, None);
    let (mut alterations, mut asked) = (Vec::new(), Vec::new());
    let mut counts: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for resource in &request.resources {
        *counts.entry(name_of(resource)).or_default() += 1;
    }
    for (at, resource) in request.resources.iter().enumerate() {
        let twice = counts[&name_of(resource)] > 1;
        match resource_changes(resource, twice, settings, image) {
            Ok(alteration) => {
                alterations.push(alteration);
                asked.push(at);
            }
            Err(refused) => refuse(&mut response.responses[at], refused),
        }
    }
    (alterations, AlterAnswer { response, asked })
}

/// The whole answer, with what the controller says.
pub fn answer(
    plan: AlterAnswer,
    results: Vec<Result<(), Refusal>>,
) -> IncrementalAlterConfigsResponse {
    let mut response = plan.response;
    for (at, result) in plan.asked.into_iter().zip(results) {
        let Err(refused) = result else { continue };
        let entry = &mut response.responses[at];
        let told = match refused.kind {
            RefusalKind::UnknownTopic => unknown_topic(&entry.resource_name),
            kind => (errors::of_topic_refusal(kind), refused.message),
        };
        refuse(entry, told);
    }
    response
}

fn refuse(entry: &mut AlterConfigsResult, (code, message): Refused) {
    entry.error_code = code;
    entry.error_message = Some(message.into());
}

fn name_of(resource: &AlterConfigsResource) -> (i8, &str) {
    (resource.resource_type, &resource.resource_name)
}

fn resource_changes(
    resource: &AlterConfigsResource,
    twice: bool,
    settings: &Settings,
    image: &Image,
) -> Result<Alteration, Refused> {
    let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
    if twice {
        return invalid("The resource is named more than once.".into());
    }
    let changes = changes(&resource.configs)?;
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC if name.is_empty() => invalid("There are no values of all topics.".into()),
        TOPIC => Ok(Alteration {
            of: Altered::Topic(name.to_owned()),
            changes,
        }),
        GROUP if name.is_empty() => invalid("There are no values of all groups.".into()),
        GROUP if name.len() > GROUP_BYTES_MAX => invalid("The group's name is too long.".into()),
        GROUP => {
            judge_group(image, settings, name, &changes)?;
            Ok(Alteration {
                of: Altered::Group(name.to_owned()),
                changes,
            })
        }
        BROKER => {
            if !name.is_empty()
                && let Err(message) = is_this_node(name, settings)
            {
                return invalid(message);
            }
            let first = changes.first().map_or("none given", |(key, _)| shown(key));
            invalid(format!(
                "A broker's keys ({first}) are not changed while it runs: set them at its start."
            ))
        }
        other => invalid(format!(
            "Resources of type {other} have no configuration here: topics (2) and groups (32) have."
        )),
    }
}

/// Values of groups lie in ranges that the node was started with.
fn judge_group(
    image: &Image,
    settings: &Settings,
    group: &str,
    changes: &[(String, Change)],
) -> Result<(), Refused> {
    let set = changes.iter().filter_map(|(name, change)| match change {
        Change::Set(value) => Some((name.as_str(), value.as_str())),
        Change::Delete | Change::Append(_) | Change::Subtract(_) => None,
    });
    let set: Vec<(&str, &str)> = set.collect();
    let former = image.group_configs(group);
    let judged = settings.groups.check_group(former, &set);
    judged.map_err(|message| (ErrorCode::InvalidConfig, message))
}

fn changes(configs: &[AlterableConfig]) -> Result<Vec<(String, Change)>, Refused> {
    let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
    if configs.len() > CHANGES_MAX {
        return invalid(format!("One resource takes {CHANGES_MAX} changes at most."));
    }
    let mut names = BTreeSet::new();
    let mut changes = Vec::with_capacity(configs.len());
    for config in configs {
        let name = config.name.to_string();
        if !names.insert(config.name.as_str()) {
            return invalid(format!("The key {} is named more than once.", shown(&name)));
        }
        let value = || match &config.value {
            Some(value) => Ok(value.to_string()),
            None => Err((
                ErrorCode::InvalidRequest,
                format!("The key {} has no value.", shown(&name)),
            )),
        };
        let change = match config.config_operation {
            0 => Change::Set(value()?),
            1 => Change::Delete,
            2 => Change::Append(value()?),
            3 => Change::Subtract(value()?),
            other => {
                return invalid(format!(
                    "The operation {other} on {} is not known: 0 sets, 1 deletes, 2 appends, 3 subtracts.",
                    shown(&name)
                ));
            }
        };
        changes.push((name, change));
    }
    Ok(changes)
}
