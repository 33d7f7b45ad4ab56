//! Which defect this process is to have: `tests/planted.rs` names one to the tests that it starts.

/// Plants what `LARDER_PLANT` names, in a build that has defects to plant.
#[allow(unreachable_pub)]
pub fn plant() {
    #[cfg(feature = "planted")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            if let Ok(name) = std::env::var("LARDER_PLANT") {
                assert!(larder::vocabulary::planted::plant(&name), "there is no defect {name}");
            }
        });
    }
}
