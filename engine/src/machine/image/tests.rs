//! The image applies what the log says, and its copies are cheap and independent.

use super::*;
use millstream_storage::sim::SimRng;

fn directory(id: u128, start: u64) -> Directory {
    Directory {
        id: DirectoryId(id),
        start,
    }
}

fn registration(node: i32, directories: &[Directory]) -> Registration {
    Registration {
        node: NodeId(node),
        directories: directories.to_vec(),
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
            protocol: 0,
        }],
        rack: Some("r".into()),
        suspects: Vec::new(),
        epoch: None,
        former: Vec::new(),
    }
}

fn partition(topic: u128, index: i32, nodes: &[i32]) -> Record {
    let nodes: Vec<NodeId> = nodes.iter().map(|node| NodeId(*node)).collect();
    let replica = |node: &NodeId| Replica {
        node: *node,
        directory: DirectoryId(node.0 as u128),
    };
    Record::Partition(Arc::new(PartitionRecord {
        topic: TopicId(topic),
        index: PartitionIndex(index),
        replicas: nodes.iter().map(replica).collect(),
        isr: nodes.clone(),
        elr: Vec::new(),
        last_known: Vec::new(),
        leader: nodes.first().copied(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        recovering: None,
        adding: Vec::new(),
        removing: Vec::new(),
    }))
}

fn topic(id: u128, name: &str) -> Record {
    Record::Topic {
        id: TopicId(id),
        name: name.into(),
    }
}

fn apply(image: &mut Image, records: Vec<Record>) -> Result<Delta, Inconsistent> {
    let entry = Entry {
        term: 1,
        index: MetadataIndex(image.index().0 + 1),
        payload: Payload::Records(records),
    };
    let delta = image.apply(&entry)?;
    image.check();
    assert_same_after_snapshot(image);
    Ok(delta)
}

fn assert_same_after_snapshot(image: &Image) {
    let snapshot = image.snapshot();
    let bytes = snapshot.encode();
    let decoded = Snapshot::decode(&bytes).expect("it was encoded");
    let restored = Image::from_snapshot(&decoded).expect("it is consistent");
    restored.check();
    assert_eq!(restored.snapshot(), snapshot);
}

/// Nodes 1 to 3, each with the directory of its number, and partition 0 of topic 7 on the nodes given.
fn cluster(nodes: &[i32]) -> Image {
    let mut image = Image::default();
    let id = "c".to_string();
    apply(&mut image, vec![Record::Cluster { id }]).expect("it fits");
    for node in 1..=3 {
        let record = registration(node, &[directory(node as u128, 1)]);
        apply(&mut image, vec![Record::Registration(record)]).expect("it fits");
    }
    let records = vec![topic(7, "t"), partition(7, 0, nodes)];
    apply(&mut image, records).expect("it fits");
    image
}

fn register(image: &mut Image, node: i32, directories: &[Directory]) -> PartitionRecord {
    let record = Record::Registration(registration(node, directories));
    apply(image, vec![record]).expect("it fits");
    only(image)
}

fn only(image: &Image) -> PartitionRecord {
    let partition = image.partition(TopicId(7), PartitionIndex(0));
    partition.expect("it is there").as_ref().clone()
}

#[test]
fn a_lone_leader_that_starts_anew_leads_on_under_a_higher_epoch() {
    let mut image = cluster(&[1]);
    let after = register(&mut image, 1, &[directory(1, 2)]);
    assert_eq!(after.leader, Some(NodeId(1)));
    assert_eq!(after.leader_epoch, LeaderEpoch(1));
    assert_eq!(after.partition_epoch, 1);
    let broker = image.broker(NodeId(1)).expect("it is registered");
    assert_eq!(broker.epoch, BrokerEpoch(image.index().0 as i64));
}

#[test]
fn a_former_life_is_fenced_where_another_member_can_lead() {
    let mut image = cluster(&[1, 2, 3]);
    let after = register(&mut image, 1, &[directory(1, 2)]);
    assert_eq!(after.leader, Some(NodeId(2)));
    assert_eq!(after.leader_epoch, LeaderEpoch(1));
    assert_eq!(after.isr, [NodeId(2), NodeId(3)]);
    assert!(after.elr.is_empty(), "min ISR is met without it");
    let mut image = cluster(&[1, 2]);
    let value = Some("2".to_string());
    let min_isr = Record::Config {
        resource: ConfigResource::Topic("t".into()),
        key: "min.insync.replicas".into(),
        value,
    };
    apply(&mut image, vec![min_isr]).expect("it fits");
    let after = register(&mut image, 1, &[directory(1, 2)]);
    assert_eq!(after.isr, [NodeId(2)]);
    assert_eq!(after.elr, [NodeId(1)]);
}

#[test]
fn lost_old_and_suspect_logs_leave_and_the_last_one_is_remembered() {
    let mut image = cluster(&[1, 2]);
    let after = register(&mut image, 1, &[directory(99, 1)]);
    assert_eq!(after.isr, [NodeId(2)]);
    assert_eq!(after.leader, Some(NodeId(2)));

    let mut image = cluster(&[1]);
    let blank = register(&mut image, 1, &[directory(99, 1)]);
    assert_eq!((blank.leader, blank.isr.len()), (None, 0));
    assert_eq!(blank.last_known, [NodeId(1)]);
    let old_copy = register(&mut image, 1, &[directory(1, 1)]);
    assert_eq!(
        old_copy.leader, None,
        "its start number is not above the last one"
    );
    let returned = register(&mut image, 1, &[directory(1, 2)]);
    assert_eq!(returned.leader, Some(NodeId(1)));
    assert!(returned.last_known.is_empty());
    assert!(returned.leader_epoch > blank.leader_epoch);

    let mut image = cluster(&[1]);
    let mut record = registration(1, &[directory(1, 2)]);
    record.suspects.push((TopicId(7), PartitionIndex(0)));
    apply(&mut image, vec![Record::Registration(record)]).expect("it fits");
    assert_eq!(only(&image).leader, None);
}

#[test]
fn what_does_not_fit_is_refused() {
    let image = cluster(&[1]);
    let lower = match partition(7, 0, &[1]) {
        Record::Partition(record) => record,
        other => panic!("{other:?}"),
    };
    let bad = [
        vec![topic(8, "t")],
        vec![topic(7, "u")],
        vec![partition(8, 0, &[1])],
        vec![partition(7, 2, &[1])],
        vec![partition(7, -1, &[1])],
        vec![Record::RemovedTopic { id: TopicId(8) }],
        vec![Record::ProducerIds { next: -1 }],
        vec![Record::Partition(Arc::new(PartitionRecord {
            leader_epoch: LeaderEpoch(-1),
            ..(*lower).clone()
        }))],
        vec![Record::Config {
            resource: ConfigResource::Topic("u".into()),
            key: "k".into(),
            value: None,
        }],
    ];
    for records in bad {
        let mut copy = image.clone();
        assert!(apply(&mut copy, records.clone()).is_err(), "{records:?}");
    }
    let mut copy = image.clone();
    let gap = Entry {
        term: 1,
        index: MetadataIndex(image.index().0 + 2),
        payload: Payload::Blank,
    };
    assert!(copy.apply(&gap).is_err());
}

#[test]
fn a_delta_names_what_has_changed() {
    let mut image = cluster(&[1]);
    let delta = apply(&mut image, vec![topic(9, "a.b"), partition(9, 0, &[2])]);
    let delta = delta.expect("it fits");
    assert_eq!(delta.topics, BTreeSet::from([TopicId(9)]));
    assert!(delta.removed.is_empty() && !delta.brokers);
    assert_eq!(
        image.topic_like("a_b").map(|topic| topic.id),
        Some(TopicId(9))
    );
    let removed = apply(&mut image, vec![Record::RemovedTopic { id: TopicId(9) }]);
    assert_eq!(
        removed.expect("it fits").removed,
        BTreeSet::from([TopicId(9)])
    );
    assert!(image.topic_like("a_b").is_none());
    let record = Record::Registration(registration(1, &[directory(1, 2)]));
    let delta = apply(&mut image, vec![record]).expect("it fits");
    assert!(delta.brokers);
    assert_eq!(delta.topics, BTreeSet::from([TopicId(7)]));
}

#[test]
fn a_copy_of_many_topics_shares_all_but_what_has_changed() {
    let mut image = cluster(&[1]);
    for id in 100..10_100_u128 {
        let records = vec![topic(id, &format!("topic-{id}")), partition(id, 0, &[1])];
        let entry = Entry {
            term: 1,
            index: MetadataIndex(image.index().0 + 1),
            payload: Payload::Records(records),
        };
        let published = image.clone();
        image.apply(&entry).expect("it fits");
        assert_eq!(published.topic_count() + 1, image.topic_count());
    }
    image.check();
    let published = image.clone();
    apply_one(&mut image, partition(5000, 1, &[2]));
    let shared = published
        .topics()
        .zip(image.topics())
        .filter(|(old, new)| Arc::ptr_eq(old, new))
        .count();
    assert_eq!(shared, published.topic_count() - 1);
    let names: Vec<_> = image
        .topics_by_name()
        .map(|topic| topic.name.clone())
        .collect();
    assert!(names.is_sorted());
}

fn apply_one(image: &mut Image, record: Record) {
    let entry = Entry {
        term: 1,
        index: MetadataIndex(image.index().0 + 1),
        payload: Payload::Records(vec![record]),
    };
    image.apply(&entry).expect("it fits");
}

#[test]
fn the_shared_map_agrees_with_an_ordinary_one() {
    let mut rng = SimRng::new(1);
    let mut map = SharedMap::<u64, u64>::default();
    let mut reference = BTreeMap::new();
    let mut copies = Vec::new();
    for step in 0..20_000 {
        let key = rng.below(3000);
        match rng.below(3) {
            0 => assert_eq!(map.remove(&key), reference.remove(&key)),
            1 => {
                let ours = map
                    .value_mut(&key)
                    .map(|value| std::mem::replace(value, step));
                let theirs = reference.get_mut(&key);
                assert_eq!(ours, theirs.map(|value| std::mem::replace(value, step)));
            }
            _ => {
                map.insert(key, step);
                reference.insert(key, step);
            }
        }
        assert_eq!(map.value(&key), reference.get(&key));
        assert_eq!(map.count(), reference.len());
        if step % 4000 == 0 {
            copies.push((map.clone(), reference.clone()));
        }
    }
    copies.push((map, reference));
    for (map, reference) in copies {
        assert!(map.iter().eq(reference.iter()));
    }
}
