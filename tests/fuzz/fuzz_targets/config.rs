//! Whatever stands in a configuration file is read or refused.
#![no_main]
use libfuzzer_sys::fuzz_target;
use millstream_engine::node::config::listener;
use millstream_engine::node::config::settings::Settings;

fuzz_target!(|text: &str| {
    let mut settings = Settings::default();
    let _ = settings.read_toml(text);
    let _ = settings.set_pair(text);
    let _ = listener::parse_list(text);
});
