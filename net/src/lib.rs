//! Kafka wire protocol, connections and sockets.
