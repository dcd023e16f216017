use super::*;
use crate::memory::Owner;
use crate::settings::Mode;

fn shape(m: usize) -> GemmShape {
    let elements = [ElementType::Bf16; 3];
    GemmShape { m, n: 1000, k: 1000, batch: 1, ops: [Op::N, Op::N], elements, operands: [1, 1], accumulates: false }
}

#[test]
fn rows_are_summed_and_sorted_by_floor() {
    let mut report = UsageReport::default();
    report.record_launch("small", 64, 1000);
    report.record_launch("large", 256, 43_000_000_000);
    report.record_launch("small", 64, 3000);
    report.record_launch_time("small", Duration::from_secs(2));
    report.record_product(&shape(788_000), Duration::ZERO);
    report.record_product(&shape(788_000), Duration::ZERO);
    report.record_copy(CopyKind::OnDevice, 43);
    report.record_copy(CopyKind::ToHost, 5);
    let rows = row::rows(report.phase());
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["large", "product bf16 m788000 n1000 k1000 x1 NN", "small", "copy on the device"]);
    assert_eq!((rows[2].calls, rows[2].threads, rows[2].bytes, rows[2].emulated_s), (2, 128, 4000, 2.0));
    assert!((rows[0].floor_s - 0.01).abs() < 1e-9);
    assert!((rows[1].floor_s - 0.004).abs() < 1e-9, "{}", rows[1].floor_s);
    assert!((rows[3].floor_s - 20e-12).abs() < 1e-15);
}

#[test]
fn peak_records_its_time_and_allocation_sizes() {
    let mut memory = Memory::new(Mode::Count, 1 << 30).unwrap();
    let mut report = UsageReport::default();
    let mut allocate = |report: &mut UsageReport, bytes| {
        let address = memory.allocate(bytes, Owner::Pool);
        report.record_allocation(address.is_some(), &memory);
        address
    };
    allocate(&mut report, 4096);
    report.record_launch("first", 1, 1);
    allocate(&mut report, 1 << 20);
    allocate(&mut report, 1 << 20);
    allocate(&mut report, 1 << 31);
    report.record_launch("second", 1, 1);
    let peak = report.phase().peak.clone();
    assert_eq!((peak.bytes, peak.after, peak.last.as_str()), (4096 + (2 << 20), 1, "first"));
    assert_eq!(peak.sizes.into_iter().collect::<Vec<_>>(), [(4096, 1), (1 << 20, 2)]);
    assert_eq!((report.phase().allocations, report.phase().failed_allocations), (4, 1));
    report.begin_phase(&memory);
    assert_eq!(report.phase().peak.bytes, 4096 + (2 << 20), "live allocations carry over to the next phase");
    assert_eq!((report.phases.len(), report.phase().allocations), (2, 0));
    report.begin_phase(&memory);
    assert_eq!(report.phases.len(), 2, "an empty phase is not kept");
}

#[test]
fn write_creates_text_and_json_files() {
    let mut report = UsageReport::default();
    report.record_launch("a_kernel", 32, 4_300_000_000);
    let path = std::env::temp_dir().join(format!("ltx2-emulator-report-{}", std::process::id()));
    report.write(&path, Some("wrong \"address\"")).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("a_kernel") && text.contains("1.000") && text.contains("lost: wrong"), "{text}");
    let json_path = path.with_extension("json");
    let json: Value = serde_json::from_slice(&std::fs::read(&json_path).unwrap()).unwrap();
    assert_eq!(json["phases"][0]["rows"][0]["calls"], 1);
    assert_eq!(json["fault"], "wrong \"address\"");
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(json_path).unwrap();
}
