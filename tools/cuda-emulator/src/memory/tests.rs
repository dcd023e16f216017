use super::*;

const MIB: u64 = 1 << 20;

#[test]
fn new_memory_reads_as_nan_even_if_reused() {
    let mut memory = Memory::new(Mode::Run, 64 * MIB).unwrap();
    let address = memory.allocate(4 * MIB, Owner::Pool).unwrap();
    let first = address as *mut f32;
    // SAFETY: `first` points to a live, aligned allocation of 4 MiB, accessible in run mode.
    unsafe {
        assert!(first.read().is_nan());
        first.write(1.0);
    }
    memory.free(address).unwrap();
    assert_eq!(memory.allocate(4 * MIB, Owner::Pool), Some(address));
    // SAFETY: `first` points to a live, aligned allocation of 4 MiB, accessible in run mode.
    assert!(unsafe { first.read() }.is_nan());
}

#[test]
fn only_the_requested_bytes_are_accessible() {
    let mut memory = Memory::new(Mode::Count, MIB).unwrap();
    let address = memory.allocate(1000, Owner::Pool).unwrap();
    let next = memory.allocate(1000, Owner::Pool).unwrap();
    assert!(address.is_multiple_of(512) && next.is_multiple_of(512));
    let ranges = memory.ranges().clone();
    assert!(ranges.contains(address, 1000) && !ranges.contains(address, 1001));
    assert_eq!(ranges.find(address + 1000), None);
    assert_eq!(memory.usage.used, 2048);
    memory.free(address).unwrap();
    assert!(memory.free(address).is_none() && memory.free(next + 1).is_none());
    assert_eq!(memory.ranges().find(address), None);
    assert_eq!(ranges.find(address), Some((address, address + 1000)), "a snapshot is unaffected");
    assert_eq!((memory.usage.used, memory.usage.used_high), (1024, 2048));
}

#[test]
fn allocation_fails_on_a_full_device_and_succeeds_after_a_free() {
    let mut memory = Memory::new(Mode::Count, MIB).unwrap();
    assert_eq!(memory.allocate(MIB + 1, Owner::Pool), None);
    let all = memory.allocate(MIB, Owner::Pool).unwrap();
    assert_eq!(memory.allocate(1, Owner::Pool), None);
    memory.free(all).unwrap();
    assert!(memory.allocate(MIB, Owner::Driver).is_some());
}

#[test]
fn many_allocations_do_not_exhaust_the_address_space() {
    let mut memory = Memory::new(Mode::Count, 141 << 30).unwrap();
    let mut asked = 0u64;
    let mut live = std::collections::VecDeque::new();
    for i in 0..400_000u64 {
        // Varied sizes, up to several GiB.
        let bytes = 1 + (i * 7_919_777 % 4099) * (1 << (i % 20));
        live.push_back(memory.allocate(bytes, Owner::Pool).unwrap());
        asked += bytes;
        if live.len() > 40 {
            memory.free(live.pop_front().unwrap()).unwrap();
        }
    }
    // Twice the size of the address space.
    assert!(asked > 32 << 40, "{asked}");
}

#[test]
fn globals_are_writable_in_counting_mode() {
    let mut memory = Memory::new(Mode::Count, MIB).unwrap();
    let address = memory.allocate(8, Owner::Driver).unwrap();
    // SAFETY: the driver's allocations are accessible in counting mode, and this one is aligned and has eight bytes.
    unsafe { (address as *mut u64).write(7) };
    assert_eq!(memory.usage.free(), MIB - 512);
}
