use super::*;

const MIB: u64 = 1 << 20;

#[test]
fn new_memory_reads_as_nan_even_where_it_was_used_before() {
    let mut memory = Memory::new(Mode::Run, 64 * MIB).unwrap();
    let address = memory.allocate(4 * MIB, Owner::Pool).unwrap();
    let first = address as *mut f32;
    // SAFETY: the memory was just allocated, and is large enough.
    unsafe {
        assert!(first.read().is_nan());
        first.write(1.0);
    }
    memory.free(address).unwrap();
    assert_eq!(memory.allocate(4 * MIB, Owner::Pool), Some(address));
    // SAFETY: as above.
    assert!(unsafe { first.read() }.is_nan());
}

#[test]
fn only_what_was_asked_for_may_be_accessed() {
    let mut memory = Memory::new(Mode::Count, MIB).unwrap();
    let address = memory.allocate(1000, Owner::Pool).unwrap();
    let next = memory.allocate(1000, Owner::Pool).unwrap();
    assert!(address.is_multiple_of(512) && next.is_multiple_of(512));
    let ranges = memory.ranges().clone();
    assert!(ranges.holds(address, 1000) && !ranges.holds(address, 1001));
    assert_eq!(ranges.find(address + 1000), None);
    assert_eq!(memory.usage.used, 2048);
    memory.free(address).unwrap();
    assert!(memory.free(address).is_none() && memory.free(next + 1).is_none());
    assert_eq!(memory.ranges().find(address), None);
    assert_eq!(ranges.find(address), Some((address, address + 1000)), "a snapshot stays as it was");
    assert_eq!((memory.usage.used, memory.usage.used_high), (1024, 2048));
}

#[test]
fn a_full_card_says_no_and_is_as_good_as_before() {
    let mut memory = Memory::new(Mode::Count, MIB).unwrap();
    assert_eq!(memory.allocate(MIB + 1, Owner::Pool), None);
    let all = memory.allocate(MIB, Owner::Pool).unwrap();
    assert_eq!(memory.allocate(1, Owner::Pool), None);
    memory.free(all).unwrap();
    assert!(memory.allocate(MIB, Owner::Driver).is_some());
}

#[test]
fn a_long_dry_run_does_not_run_out_of_addresses() {
    let mut memory = Memory::new(Mode::Count, 141 << 30).unwrap();
    let mut asked = 0u64;
    let mut live = std::collections::VecDeque::new();
    for i in 0..400_000u64 {
        // Sizes of all kinds, up to some GiB.
        let bytes = 1 + (i * 7_919_777 % 4099) * (1 << (i % 20));
        live.push_back(memory.allocate(bytes, Owner::Pool).unwrap());
        asked += bytes;
        if live.len() > 40 {
            memory.free(live.pop_front().unwrap()).unwrap();
        }
    }
    // Twice the addresses that there are.
    assert!(asked > 32 << 40, "{asked}");
}

#[test]
fn globals_can_be_written_even_when_nothing_else_is_there() {
    let mut memory = Memory::new(Mode::Count, MIB).unwrap();
    let address = memory.allocate(8, Owner::Driver).unwrap();
    // SAFETY: eight bytes were allocated for that.
    unsafe { (address as *mut u64).write(7) };
    assert_eq!(memory.usage.free(), MIB - 512);
}
