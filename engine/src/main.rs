//! The `millstream` binary.
fn main() {
    millstream_engine::cli::main()
}
