//! The controller decides as the rules M3, M8 to M10 and P6 say.

use super::*;
use crate::machine::image::{Directory, Registration};
use millstream_storage::ids::{DirectoryId, NodeId};

/// A controller over a quorum that commits when told to.
struct Bench {
    controller: Controller,
    applied: Image,
    proposed: VecDeque<Entry>,
    answers: Vec<(Ask, Answer)>,
    random: u128,
    asks: u64,
}

impl Bench {
    fn new(nodes: i32) -> Self {
        Self::with(nodes, ControllerConfig::default())
    }

    fn with(nodes: i32, config: ControllerConfig) -> Self {
        let mut bench = Self {
            controller: Controller::new(config, 1, Image::default()),
            applied: Image::default(),
            proposed: VecDeque::new(),
            answers: Vec::new(),
            random: 7,
            asks: 0,
        };
        let mut effects = Vec::new();
        for node in 1..=nodes {
            let registration = registration(node);
            bench.controller.propose(vec![registration], &mut effects);
        }
        bench.take(effects);
        bench.commit();
        bench
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Propose { index, records } => self.proposed.push_back(Entry {
                    term: 1,
                    index,
                    payload: Payload::Records(records),
                }),
                Effect::Answer { ask, answer } => self.answers.push((ask, answer)),
                Effect::Capped { .. } => {}
            }
        }
    }

    fn commit(&mut self) {
        while let Some(entry) = self.proposed.pop_front() {
            let bytes = entry.encode();
            let entry = Entry::decode(&bytes).expect("it was encoded so");
            self.applied.apply(&entry).expect("it fits");
            self.applied.check();
            let mut effects = Vec::new();
            self.controller.applied(&self.applied, &mut effects);
            self.take(effects);
        }
    }

    fn ask(&mut self) -> Ask {
        self.asks += 1;
        Ask(self.asks)
    }

    fn create(&mut self, topics: &[NewTopic], intent: Intent) -> PerTopic<String, Created> {
        let request = CreateTopics {
            topics: topics.to_vec(),
            intent,
        };
        let (ask, mut effects) = (self.ask(), Vec::new());
        let mut seed = self.random;
        let mut random = || {
            seed = seed.wrapping_mul(0xDA94_2042_E4DD_58B5).wrapping_add(1);
            seed ^ (seed << 64)
        };
        self.controller
            .create_topics(ask, &request, &mut random, &mut effects);
        self.random = seed;
        self.take(effects);
        self.commit();
        match self.answers.pop() {
            Some((answered, Answer::Created(topics))) if answered == ask => topics,
            other => panic!("{other:?}"),
        }
    }

    fn delete(&mut self, names: &[TopicName]) -> PerTopic<TopicName, Deleted> {
        let (ask, mut effects) = (self.ask(), Vec::new());
        self.controller.delete_topics(ask, names, &mut effects);
        self.take(effects);
        self.commit();
        match self.answers.pop() {
            Some((answered, Answer::Deleted(topics))) if answered == ask => topics,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&mut self, topic: NewTopic) -> Option<RefusalKind> {
        let validated = self.create(std::slice::from_ref(&topic), Intent::Validate);
        let created = self.create(&[topic], Intent::Execute);
        let kind = |topics: PerTopic<String, Created>| {
            let (_, result) = topics.into_iter().next().expect("one was asked for");
            result.err().map(|refused| refused.kind)
        };
        let kind_created = kind(created);
        assert_eq!(kind(validated), kind_created);
        kind_created
    }
}

fn registration(node: i32) -> Record {
    Record::Registration(Registration {
        node: NodeId(node),
        directories: vec![Directory {
            id: DirectoryId(node as u128),
            start: 1,
        }],
        endpoints: Vec::new(),
        rack: None,
        suspects: Vec::new(),
        epoch: None,
        former: Vec::new(),
    })
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic {
        name: name.into(),
        partitions,
        replication_factor,
        ..NewTopic::default()
    }
}

fn with_config(name: &str, key: &str, value: &str) -> NewTopic {
    NewTopic {
        configs: vec![(key.into(), Some(value.into()))],
        ..topic(name, 1, 1)
    }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    let own = |(index, nodes): &(i32, &[i32])| {
        let nodes = nodes.iter().map(|node| NodeId(*node)).collect();
        (*index, nodes)
    };
    NewTopic {
        assignments: assignments.iter().map(own).collect(),
        ..topic(name, -1, -1)
    }
}

#[test]
fn every_refusal_of_a_creation_has_its_code() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.refusal(topic("a.b", 2, 1)), None);
    let long = "x".repeat(250);
    let cases = [
        (topic("a.b", 1, 1), RefusalKind::TopicExists),
        (topic("a_b", 1, 1), RefusalKind::InvalidTopicName),
        (topic("", 1, 1), RefusalKind::InvalidTopicName),
        (topic("..", 1, 1), RefusalKind::InvalidTopicName),
        (topic("a/b", 1, 1), RefusalKind::InvalidTopicName),
        (topic("größe", 1, 1), RefusalKind::InvalidTopicName),
        (topic(&long, 1, 1), RefusalKind::InvalidTopicName),
        (topic("t", 0, 1), RefusalKind::InvalidPartitions),
        (topic("t", -2, 1), RefusalKind::InvalidPartitions),
        (topic("t", i32::MAX, 1), RefusalKind::PolicyViolation),
        (topic("t", 1, 0), RefusalKind::InvalidReplicationFactor),
        (topic("t", 1, -2), RefusalKind::InvalidReplicationFactor),
        (topic("t", 1, 3), RefusalKind::InvalidReplicationFactor),
        (with_config("t", "nope", "1"), RefusalKind::InvalidConfig),
        (
            with_config("t", "segment.bytes", "1000"),
            RefusalKind::InvalidConfig,
        ),
        (
            with_config("__consumer_offsets", "write.caching", "true"),
            RefusalKind::InvalidConfig,
        ),
        (
            assigned("t", &[(0, &[9])]),
            RefusalKind::InvalidReplicaAssignment,
        ),
        (
            assigned("t", &[(1, &[1])]),
            RefusalKind::InvalidReplicaAssignment,
        ),
        (
            assigned("t", &[(0, &[1, 1])]),
            RefusalKind::InvalidReplicaAssignment,
        ),
        (
            assigned("t", &[(0, &[1]), (1, &[1, 2])]),
            RefusalKind::InvalidReplicaAssignment,
        ),
        (
            assigned("t", &[(0, &[1]), (0, &[2])]),
            RefusalKind::InvalidReplicaAssignment,
        ),
        (
            assigned("t", &[(0, &[])]),
            RefusalKind::InvalidReplicaAssignment,
        ),
        (
            NewTopic {
                partitions: 1,
                ..assigned("t", &[(0, &[1])])
            },
            RefusalKind::InvalidRequest,
        ),
    ];
    for (topic, kind) in cases {
        assert_eq!(bench.refusal(topic.clone()), Some(kind), "{topic:?}");
    }
    assert_eq!(bench.applied.topic_count(), 1);
}

#[test]
fn good_topics_are_created_beside_bad_ones() {
    let mut bench = Bench::new(1);
    let topics = [
        topic("a", 3, -1),
        topic("twice", 1, 1),
        topic("twice", 1, 1),
        topic("b", -1, 1),
        topic("x.y", 1, 1),
        topic("x_y", 1, 1),
    ];
    let results = bench.create(&topics, Intent::Execute);
    let kinds: Vec<_> = results
        .iter()
        .map(|(_, result)| result.as_ref().err().map(|refused| refused.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            None,
            // A topic named twice is answered once.
            Some(RefusalKind::InvalidRequest),
            None,
            None,
            Some(RefusalKind::InvalidTopicName)
        ]
    );
    assert_eq!(bench.applied.topic_count(), 3);
    assert_eq!(bench.applied.partition_count(), 5);
    let named = bench.applied.topic_named("a").expect("it was created");
    assert_eq!(named.partitions[2].leader, Some(NodeId(1)));
}

#[test]
fn validation_creates_nothing_and_answers_like_success() {
    let mut bench = Bench::new(1);
    let before = bench.applied.index();
    let results = bench.create(&[topic("a", 3, 1)], Intent::Validate);
    let created = results[0].1.as_ref().expect("it is valid");
    assert_eq!((created.partitions, created.replication_factor), (3, 1));
    assert_eq!(created.id, TopicId::NONE);
    assert_eq!(bench.applied.index(), before);
}

#[test]
fn a_topic_created_anew_has_a_new_id_and_none_of_its_old_values() {
    let mut bench = Bench::new(1);
    let first = bench.create(&[with_config("a", "retention.ms", "5")], Intent::Execute);
    let first = first[0].1.as_ref().expect("it is valid").id;
    let name = TopicName::Name("a".into());
    let deleted = bench.delete(&[name.clone(), TopicName::Name("b".into())]);
    assert_eq!(deleted[0].1.as_ref().map(|one| one.id), Ok(first));
    let refused = deleted[1].1.as_ref().expect_err("there is none");
    assert_eq!(refused.kind, RefusalKind::UnknownTopic);
    let deleted = bench.delete(&[TopicName::Id(first)]);
    let refused = deleted[0].1.as_ref().expect_err("it is gone");
    assert_eq!(refused.kind, RefusalKind::UnknownTopicId);
    let second = bench.create(&[topic("a", 1, 1)], Intent::Execute);
    let second = second[0].1.as_ref().expect("it is valid").id;
    assert_ne!(first, second);
    assert!(
        bench
            .applied
            .topic(second)
            .expect("it is there")
            .configs
            .is_empty()
    );
}

#[test]
fn deletion_can_be_disabled() {
    let config = ControllerConfig {
        deletion: false,
        ..ControllerConfig::default()
    };
    let mut bench = Bench::with(1, config);
    bench.create(&[topic("a", 1, 1)], Intent::Execute);
    let deleted = bench.delete(&[TopicName::Name("a".into())]);
    let refused = deleted[0].1.as_ref().expect_err("it is disabled");
    assert_eq!(refused.kind, RefusalKind::DeletionDisabled);
}

#[test]
fn answers_wait_for_their_entry_and_a_refusal_for_what_it_was_judged_on() {
    let mut bench = Bench::new(1);
    let request = CreateTopics {
        topics: vec![topic("a", 1, 1)],
        intent: Intent::Execute,
    };
    let mut effects = Vec::new();
    let mut random = || 1;
    for ask in [Ask(1), Ask(2)] {
        bench
            .controller
            .create_topics(ask, &request, &mut random, &mut effects);
    }
    bench.take(effects);
    assert!(bench.answers.is_empty());
    bench.commit();
    let asks: Vec<_> = bench.answers.iter().map(|(ask, _)| *ask).collect();
    assert_eq!(asks, [Ask(1), Ask(2)]);
}

#[test]
fn who_waits_when_leadership_is_lost_is_told_so() {
    let mut bench = Bench::new(1);
    let mut effects = Vec::new();
    bench.controller.producer_ids(Ask(1), &mut effects);
    effects.clear();
    bench.controller.lost(&mut effects);
    let expected = Effect::Answer {
        ask: Ask(1),
        answer: Answer::NotController,
    };
    assert_eq!(effects, [expected]);
}

#[test]
fn producer_id_blocks_do_not_overlap() {
    let mut bench = Bench::new(1);
    let mut effects = Vec::new();
    bench.controller.producer_ids(Ask(1), &mut effects);
    bench.controller.producer_ids(Ask(2), &mut effects);
    bench.take(effects);
    bench.commit();
    let firsts: Vec<_> = bench
        .answers
        .iter()
        .map(|(_, answer)| match answer {
            Answer::ProducerIds { first, count } => (*first, *count),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(firsts, [(0, 1000), (1000, 1000)]);
}

#[test]
fn automatic_creation_takes_the_defaults_and_refuses_bad_names() {
    let config = ControllerConfig {
        partitions: 4,
        ..ControllerConfig::default()
    };
    let mut bench = Bench::with(1, config);
    let mut effects = Vec::new();
    let mut random = || 3;
    assert!(
        bench
            .controller
            .auto_create("a", &mut random, &mut effects)
            .is_ok()
    );
    assert!(
        bench
            .controller
            .auto_create("a", &mut random, &mut effects)
            .is_ok()
    );
    assert!(
        bench
            .controller
            .auto_create("a b", &mut random, &mut effects)
            .is_err()
    );
    bench.take(effects);
    bench.commit();
    assert_eq!(bench.applied.partition_count(), 4);
}

#[test]
fn replicas_spread_evenly_over_brokers() {
    let mut bench = Bench::new(3);
    bench.create(&[topic("a", 6, 3)], Intent::Execute);
    let topic = bench.applied.topic_named("a").expect("it was created");
    for node in 1..=3 {
        let leads = |one: &&std::sync::Arc<crate::machine::image::PartitionRecord>| {
            one.leader == Some(NodeId(node))
        };
        assert_eq!(topic.partitions.iter().filter(leads).count(), 2);
    }
    for partition in &topic.partitions {
        let mut nodes: Vec<_> = partition.replicas.iter().map(|one| one.node).collect();
        nodes.sort();
        nodes.dedup();
        assert_eq!(nodes.len(), 3);
    }
}

impl Bench {
    fn ask_for<T>(
        &mut self,
        act: impl FnOnce(&mut Controller, Ask, &mut Vec<Effect>),
        take: impl FnOnce(Answer) -> Option<T>,
    ) -> T {
        let (ask, mut effects) = (self.ask(), Vec::new());
        act(&mut self.controller, ask, &mut effects);
        self.take(effects);
        self.commit();
        let (answered, answer) = self.answers.pop().expect("it is answered");
        assert_eq!(answered, ask);
        take(answer).expect("by an answer of its kind")
    }

    fn alter(&mut self, topic: &str, changes: &[(&str, Change)]) -> Option<RefusalKind> {
        self.alter_one(Altered::Topic(topic.into()), changes)
    }

    fn alter_one(&mut self, of: Altered, changes: &[(&str, Change)]) -> Option<RefusalKind> {
        let own = |(key, change): &(&str, Change)| ((*key).to_owned(), change.clone());
        let changes = changes.iter().map(own).collect();
        let alterations = [Alteration { of, changes }];
        let results = self.ask_for(
            |controller, ask, effects| {
                controller.alter_configs(ask, &alterations, Intent::Execute, effects);
            },
            |answer| match answer {
                Answer::Configured(results) => Some(results),
                _ => None,
            },
        );
        results[0].as_ref().err().map(|refused| refused.kind)
    }

    fn grow(
        &mut self,
        name: &str,
        count: i32,
        assignments: Option<&[&[i32]]>,
    ) -> Option<RefusalKind> {
        let nodes = |nodes: &&[i32]| nodes.iter().map(|node| NodeId(*node)).collect();
        let request = AddPartitions {
            topics: vec![MorePartitions {
                name: name.into(),
                count,
                assignments: assignments.map(|all| all.iter().map(nodes).collect()),
            }],
            intent: Intent::Execute,
        };
        let results = self.ask_for(
            |controller, ask, effects| controller.add_partitions(ask, &request, effects),
            |answer| match answer {
                Answer::Grown(results) => Some(results),
                _ => None,
            },
        );
        results[0].1.as_ref().err().map(|refused| refused.kind)
    }

    fn value(&self, topic: &str, key: &str) -> Option<&str> {
        let topic = self.applied.topic_named(topic)?;
        topic.configs.get(key).map(String::as_str)
    }
}

#[test]
fn changes_become_absolute_values_and_an_unchanged_value_no_record() {
    let mut bench = Bench::new(1);
    bench.create(&[topic("t", 1, 1)], Intent::Execute);
    let set = |value: &str| Change::Set(value.into());
    let append = |word: &str| Change::Append(word.into());
    assert_eq!(bench.alter("t", &[("segment.ms", set("5"))]), None);
    assert_eq!(bench.value("t", "segment.ms"), Some("5"));
    assert_eq!(
        bench.alter("t", &[("cleanup.policy", append("compact"))]),
        None
    );
    assert_eq!(bench.value("t", "cleanup.policy"), Some("delete,compact"));

    let before = bench.applied.index();
    assert_eq!(bench.alter("t", &[("segment.ms", set("5"))]), None);
    assert_eq!(bench.alter("t", &[("retention.ms", Change::Delete)]), None);
    assert_eq!(
        bench.alter("t", &[("of.a.former.version", Change::Delete)]),
        None
    );
    assert_eq!(bench.applied.index(), before);

    assert_eq!(bench.alter("t", &[("segment.ms", Change::Delete)]), None);
    assert_eq!(bench.value("t", "segment.ms"), None);
    let cases = [
        ("nobody", "segment.ms", set("5"), RefusalKind::UnknownTopic),
        ("t", "segment.ms", set("x"), RefusalKind::InvalidConfig),
        ("t", "segment.ms", append("5"), RefusalKind::InvalidConfig),
        ("t", "no.such.key", set("5"), RefusalKind::InvalidConfig),
    ];
    for (topic, key, change, kind) in cases {
        assert_eq!(bench.alter(topic, &[(key, change)]), Some(kind), "{key}");
    }
}

#[test]
fn internal_topics_stay_durable_whatever_they_are_told() {
    let mut bench = Bench::new(1);
    bench.create(&[topic("__consumer_offsets", 1, 1)], Intent::Execute);
    let caching = [("write.caching", Change::Set("TRUE".into()))];
    let refused = bench.alter("__consumer_offsets", &caching);
    assert_eq!(refused, Some(RefusalKind::InvalidConfig));
}

#[test]
fn new_partitions_go_on_in_the_turn_of_the_brokers() {
    let mut bench = Bench::new(3);
    bench.create(&[topic("whole", 7, 2)], Intent::Execute);
    bench.create(&[topic("grown", 2, 2)], Intent::Execute);
    assert_eq!(bench.grow("grown", 7, None), None);
    let grown = bench.applied.topic_named("grown").expect("it is there");
    assert_eq!(grown.partitions.len(), 7);
    for node in 1..=3 {
        let leads = grown.partitions.iter();
        let leads = leads.filter(|one| one.leader == Some(NodeId(node))).count();
        assert!((2..=3).contains(&leads), "broker {node} leads {leads}");
    }
    assert!(grown.partitions.iter().all(|one| one.replicas.len() == 2));
}

#[test]
fn every_refusal_of_new_partitions_has_its_code() {
    let mut bench = Bench::new(2);
    bench.create(&[topic("t", 2, 2)], Intent::Execute);
    let cases = [
        ("nobody", 3, RefusalKind::UnknownTopic),
        ("t", 2, RefusalKind::InvalidPartitions),
        ("t", i32::MIN, RefusalKind::InvalidPartitions),
        ("t", i32::MAX, RefusalKind::PolicyViolation),
    ];
    for (name, count, kind) in cases {
        assert_eq!(bench.grow(name, count, None), Some(kind), "{count}");
    }
    let bad: [&[&[i32]]; 4] = [&[], &[&[1]], &[&[1, 1]], &[&[1, 9]]];
    for assigned in bad {
        let refused = bench.grow("t", 3, Some(assigned));
        assert_eq!(refused, Some(RefusalKind::InvalidReplicaAssignment));
    }
    assert_eq!(bench.grow("t", 3, Some(&[&[2, 1]])), None);
    let grown = bench.applied.topic_named("t").expect("it is there");
    assert_eq!(grown.partitions[2].leader, Some(NodeId(2)));
}

#[test]
fn partitions_that_are_being_moved_must_arrive_before_there_are_more() {
    let mut bench = Bench::new(2);
    bench.create(&[topic("t", 1, 1)], Intent::Execute);
    let there = bench.applied.topic_named("t").expect("it is there");
    let mut moving = (*there.partitions[0]).clone();
    moving.partition_epoch += 1;
    moving.adding.push(NodeId(2));
    let mut effects = Vec::new();
    let records = vec![Record::Partition(moving.into())];
    bench.controller.propose(records, &mut effects);
    bench.take(effects);
    bench.commit();
    let refused = bench.grow("t", 2, None);
    assert_eq!(refused, Some(RefusalKind::ReassignmentInProgress));
}

#[test]
fn min_insync_replicas_of_a_topic_counts_from_the_image_that_has_it() {
    let mut bench = Bench::new(3);
    bench.create(&[topic("t", 1, 3)], Intent::Execute);
    let min_isr = |bench: &Bench| {
        let topic = bench.applied.topic_named("t").expect("it is there");
        bench.applied.min_isr(&topic.partitions[0])
    };
    assert_eq!(min_isr(&bench), 1);
    // More than there are replicas is as many as there are.
    for (value, expected) in [("2", 2), ("9", 3)] {
        let change = Change::Set(value.into());
        assert_eq!(bench.alter("t", &[("min.insync.replicas", change)]), None);
        assert_eq!(min_isr(&bench), expected);
    }
}

#[test]
fn a_default_factor_that_cannot_be_reached_is_capped_where_nobody_is_answered_and_told_once() {
    let config = ControllerConfig {
        replication_factor: 3,
        ..ControllerConfig::default()
    };
    let mut bench = Bench::with(2, config);
    assert_eq!(
        bench.refusal(topic("t", 1, -1)),
        Some(RefusalKind::InvalidReplicationFactor)
    );
    let mut told = 0;
    for (name, bits) in [("a", 5), ("b", 6)] {
        let (mut effects, mut random) = (Vec::new(), || bits);
        let created = bench
            .controller
            .auto_create(name, &mut random, &mut effects);
        assert_eq!(created, Ok(()));
        told += effects
            .iter()
            .filter(|effect| {
                matches!(
                    effect,
                    Effect::Capped {
                        wanted: 3,
                        replicas: 2
                    }
                )
            })
            .count();
        bench.take(effects);
        bench.commit();
    }
    assert_eq!(told, 1);
}

#[test]
fn values_of_groups_are_kept_changed_and_given_up() {
    let mut bench = Bench::new(1);
    let key = "consumer.session.timeout.ms";
    let alter = |bench: &mut Bench, change: Change| {
        bench.alter_one(Altered::Group("g".into()), &[(key, change)])
    };
    let set = |value: &str| Change::Set(value.to_owned());
    assert_eq!(alter(&mut bench, set("50000")), None);
    let value = |bench: &Bench| {
        let configs = bench.applied.group_configs("g")?;
        configs.get(key).cloned()
    };
    assert_eq!(value(&bench).as_deref(), Some("50000"));
    let snapshot = bench.applied.snapshot();
    let read = Image::from_snapshot(&snapshot).expect("it was just taken");
    assert_eq!(read.group_configs("g"), bench.applied.group_configs("g"));
    let refused = alter(&mut bench, Change::Append("1".into()));
    assert_eq!(refused, Some(RefusalKind::InvalidConfig));
    assert_eq!(alter(&mut bench, Change::Delete), None);
    assert_eq!(
        bench.applied.configured_group_count(),
        0,
        "nothing is left of it"
    );
}
