//! Which APIs there are, and in which versions.
//!
//! Always: a key stands here once; served versions have a schema; advertised ones are served, but for the exceptions that
//! the tests name.

use super::api::*;
use super::field::Field;
use super::message::Dialect;
use super::read::{Malformed, Reader};
use super::write::Sink;

/// A closed range of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The lowest version.
    pub min: i16,
    /// The highest version; below `min` in an empty range.
    pub max: i16,
}

impl Versions {
    /// No version.
    pub const NONE: Self = Self { min: 0, max: -1 };

    /// Whether `version` is among them.
    pub fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// The versions of both.
    pub fn intersection(self, other: Self) -> Self {
        Self {
            min: self.min.max(other.min),
            max: self.max.min(other.max),
        }
    }
}

/// What is known of one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// Its key as a name.
    pub key: ApiKey,
    /// Kafka's name of it.
    pub name: &'static str,
    /// The versions whose fields are declared, for use as a client.
    pub schema: Versions,
    /// The versions a broker answers.
    pub served: Versions,
    /// The versions a broker says it answers.
    pub advertised: Versions,
    /// The first version with compact lengths, tagged fields and the longer headers; `i16::MAX` if there is none.
    pub flexible_from: i16,
}

impl Api {
    /// How `version` is spoken.
    pub fn dialect(&self, version: i16) -> Dialect {
        Dialect {
            version,
            flexible: version >= self.flexible_from,
        }
    }
}

/// A request type: it knows its API and the answer that belongs to it.
pub trait Call: Field + Into<Request> {
    /// The API.
    const KEY: ApiKey;

    /// The answer.
    type Response: Field;

    /// The answer in `response`, if it is of this API.
    fn response(response: Response) -> Option<Self::Response>;
}

/// The rows of the table. A row is `key Name: versions with a schema, flexible from [, served versions [, advertised versions]];`
/// what is served is advertised unless stated otherwise. Gives them to the macro `$rows`.
macro_rules! with_apis {
    ($rows:ident) => {
        $rows! {
            0 Produce: ProduceRequest, ProduceResponse, 3 to 13, flexible 9, served 3 to 13, advertised 0 to 13;
            1 Fetch: FetchRequest, FetchResponse, 4 to 18, flexible 12, served 4 to 18;
            2 ListOffsets: ListOffsetsRequest, ListOffsetsResponse, 1 to 11, flexible 6, served 1 to 11;
            3 Metadata: MetadataRequest, MetadataResponse, 0 to 13, flexible 9, served 0 to 13;
            8 OffsetCommit: OffsetCommitRequest, OffsetCommitResponse, 2 to 10, flexible 8, served 2 to 10;
            9 OffsetFetch: OffsetFetchRequest, OffsetFetchResponse, 1 to 10, flexible 6, served 1 to 10;
            10 FindCoordinator: FindCoordinatorRequest, FindCoordinatorResponse, 0 to 6, flexible 3, served 0 to 6;
            11 JoinGroup: JoinGroupRequest, JoinGroupResponse, 0 to 9, flexible 6, served 0 to 9;
            12 Heartbeat: HeartbeatRequest, HeartbeatResponse, 0 to 4, flexible 4, served 0 to 4;
            13 LeaveGroup: LeaveGroupRequest, LeaveGroupResponse, 0 to 5, flexible 4, served 0 to 5;
            14 SyncGroup: SyncGroupRequest, SyncGroupResponse, 0 to 5, flexible 4, served 0 to 5;
            15 DescribeGroups: DescribeGroupsRequest, DescribeGroupsResponse, 0 to 6, flexible 5, served 0 to 6;
            16 ListGroups: ListGroupsRequest, ListGroupsResponse, 0 to 5, flexible 3, served 0 to 5;
            18 ApiVersions: ApiVersionsRequest, ApiVersionsResponse, 0 to 4, flexible 3, served 0 to 4;
            19 CreateTopics: CreateTopicsRequest, CreateTopicsResponse, 2 to 7, flexible 5, served 2 to 7;
            20 DeleteTopics: DeleteTopicsRequest, DeleteTopicsResponse, 1 to 6, flexible 4, served 1 to 6;
            21 DeleteRecords: DeleteRecordsRequest, DeleteRecordsResponse, 0 to 2, flexible 2, served 0 to 2;
            22 InitProducerId: InitProducerIdRequest, InitProducerIdResponse, 0 to 5, flexible 2, served 0 to 5;
            23 OffsetForLeaderEpoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, 2 to 4, flexible 4, served 2 to 4;
            32 DescribeConfigs: DescribeConfigsRequest, DescribeConfigsResponse, 1 to 4, flexible 4, served 1 to 4;
            37 CreatePartitions: CreatePartitionsRequest, CreatePartitionsResponse, 0 to 3, flexible 2, served 0 to 3;
            42 DeleteGroups: DeleteGroupsRequest, DeleteGroupsResponse, 0 to 2, flexible 2, served 0 to 2;
            44 IncrementalAlterConfigs: IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, 0 to 1, flexible 1, served 0 to 1;
            47 OffsetDelete: OffsetDeleteRequest, OffsetDeleteResponse, 0 to 0, flexible i16::MAX, served 0 to 0;
            60 DescribeCluster: DescribeClusterRequest, DescribeClusterResponse, 0 to 2, flexible 0, served 0 to 2;
            61 DescribeProducers: DescribeProducersRequest, DescribeProducersResponse, 0 to 0, flexible 0, served 0 to 0;
            68 ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, 0 to 1, flexible 0, served 0 to 1;
            69 ConsumerGroupDescribe: ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, 0 to 1, flexible 0, served 0 to 1;
            74 ListConfigResources: ListConfigResourcesRequest, ListConfigResourcesResponse, 0 to 1, flexible 0, served 0 to 1;
            75 DescribeTopicPartitions: DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, 0 to 0, flexible 0, served 0 to 0;
        }
    };
}
#[cfg(test)]
pub(super) use with_apis;

macro_rules! define_apis {
    ($(
        $key:literal $name:ident: $request:ident, $response:ident, $min:literal to $max:literal, flexible $flexible:expr
            $(, served $served_min:literal to $served_max:literal
                $(, advertised $advertised_min:literal to $advertised_max:literal)?)?;
    )+) => {
        /// The key of an API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {$(
            #[doc = concat!("Key ", stringify!($key), ".")]
            $name = $key,
        )+}

        /// Every API, in rising order of keys.
        pub const API_TABLE: &[Api] = &[$(*ApiKey::$name.api(),)+];

        impl ApiKey {
            /// The API of a key on the wire, if there is one.
            pub fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($key => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// What is known of it.
            pub const fn api(self) -> &'static Api {
                match self {
                    $(Self::$name => &Api {
                        key: ApiKey::$name,
                        name: stringify!($name),
                        schema: Versions { min: $min, max: $max },
                        served: define_apis!(@served $($served_min, $served_max)?),
                        advertised: define_apis!(
                            @advertised $($served_min, $served_max $(, $advertised_min, $advertised_max)?)?
                        ),
                        flexible_from: $flexible,
                    },)+
                }
            }
        }

        $(
            impl Call for $request {
                const KEY: ApiKey = ApiKey::$name;
                type Response = $response;

                fn response(response: Response) -> Option<$response> {
                    match response {
                        Response::$name(response) => Some(response),
                        _ => None,
                    }
                }
            }
        )+

        /// A request of any API.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Request {$(
            #[doc = concat!("A request of ", stringify!($name), ".")]
            $name($request),
        )+}

        impl Request {
            /// The API it is of.
            pub fn key(&self) -> ApiKey {
                match self {
                    $(Self::$name(_) => ApiKey::$name,)+
                }
            }

            /// Reads the body of a request.
            pub(super) fn read(
                key: ApiKey,
                reader: &mut Reader<'_>,
                dialect: Dialect,
            ) -> Result<Self, Malformed> {
                Ok(match key {
                    $(ApiKey::$name => Self::$name(Field::read(reader, dialect)?),)+
                })
            }

            /// Writes the body of a request.
            pub(super) fn write<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
                match self {
                    $(Self::$name(request) => request.write(sink, dialect),)+
                }
            }
        }

        $(
            impl From<$request> for Request {
                fn from(request: $request) -> Self {
                    Self::$name(request)
                }
            }
        )+

        /// An answer of any API.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Response {$(
            #[doc = concat!("An answer of ", stringify!($name), ".")]
            $name($response),
        )+}

        impl Response {
            /// The API it is of.
            pub fn key(&self) -> ApiKey {
                match self {
                    $(Self::$name(_) => ApiKey::$name,)+
                }
            }

            /// Reads the body of an answer.
            pub(super) fn read(
                key: ApiKey,
                reader: &mut Reader<'_>,
                dialect: Dialect,
            ) -> Result<Self, Malformed> {
                Ok(match key {
                    $(ApiKey::$name => Self::$name(Field::read(reader, dialect)?),)+
                })
            }

            /// Writes the body of an answer.
            pub(super) fn write<S: Sink>(&self, sink: &mut S, dialect: Dialect) {
                match self {
                    $(Self::$name(response) => response.write(sink, dialect),)+
                }
            }
        }

        $(
            impl From<$response> for Response {
                fn from(response: $response) -> Self {
                    Self::$name(response)
                }
            }
        )+
    };
    (@served) => { Versions::NONE };
    (@served $min:literal, $max:literal) => { Versions { min: $min, max: $max } };
    (@advertised) => { Versions::NONE };
    (@advertised $min:literal, $max:literal) => { Versions { min: $min, max: $max } };
    (@advertised $min:literal, $max:literal, $advertised_min:literal, $advertised_max:literal) => {
        Versions { min: $advertised_min, max: $advertised_max }
    };
}

with_apis!(define_apis);

impl ApiKey {
    /// The key on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }
}

/// The API list of an ApiVersions answer.
pub fn advertised() -> Vec<ApiVersionRange> {
    let rows = API_TABLE.iter().filter(|api| !api.advertised.is_empty());
    rows.map(|api| ApiVersionRange {
        api_key: api.key.code(),
        min_version: api.advertised.min,
        max_version: api.advertised.max,
    })
    .collect()
}
