use rusqlite::Connection;

use super::*;

const PAGE: usize = 4_096;
const FRAME: usize = PAGE + FRAME_HEADER_BYTES;

/// A log of 40 commits, as a process leaves it that is killed.
fn log() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live.db");
    let writing = Connection::open(&live).unwrap();
    writing
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; \
             CREATE TABLE t (n INTEGER PRIMARY KEY, x BLOB); PRAGMA wal_checkpoint(TRUNCATE)",
        )
        .unwrap();
    for n in 0..40 {
        writing.execute("INSERT INTO t VALUES (?1, randomblob(1000))", [n]).unwrap();
    }
    let path = folder.path().join("left.db");
    for ending in ["", "-wal", "-shm"] {
        fs::copy(sibling_path(&live, ending), sibling_path(&path, ending)).unwrap();
    }
    (folder, path)
}

fn rows(path: &Path) -> i64 {
    let connection = Connection::open(path).unwrap();
    let check: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_log_that_is_complete_or_torn_at_its_end_is_not_changed() {
    let (_folder, path) = log();
    fs::remove_file(sibling_path(&path, "-shm")).unwrap();
    let wal = sibling_path(&path, "-wal");
    let whole = fs::read(&wal).unwrap();
    let mut last_flipped = whole.clone();
    let last = last_flipped.len() - 100;
    last_flipped[last] ^= 1;
    let zeros_behind = [&whole[..], &[0; 3 * FRAME]].concat();
    for bytes in [
        whole.clone(),
        whole[..whole.len() - 1].to_vec(),
        whole[..whole.len() - 5_000].to_vec(),
        whole[..40].to_vec(),
        Vec::new(),
        last_flipped,
        zeros_behind,
    ] {
        fs::write(&wal, &bytes).unwrap();
        assert!(!is_damaged(&path).unwrap(), "{} bytes", bytes.len());
        assert_eq!(mend(&path).unwrap(), None, "{} bytes", bytes.len());
        assert_eq!(fs::read(&wal).unwrap(), bytes);
    }
}

#[test]
fn a_flipped_bit_is_repaired_or_its_loss_is_reported() {
    let (_folder, path) = log();
    let whole = fs::read(sibling_path(&path, "-wal")).unwrap();
    let database = fs::read(&path).unwrap();
    let mut mended_whole = 0;
    for place in [0, 3, 4, 9, 16, 21, 24, 25, 100, 2_001, 3_002, FRAME - 1] {
        for frame in [0, 1, 7, 20, 50] {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[HEADER_BYTES + frame * FRAME + place] ^= 1 << bit;
                let what = format!("bit {bit} of byte {place} of frame {frame}");
                let mended = examine(&path, &bytes).unwrap().expect(&what);
                fs::write(&path, &database).unwrap();
                fs::write(sibling_path(&path, "-wal"), &mended.log).unwrap();
                let rows = usize::try_from(rows(&path)).unwrap();
                assert_eq!(rows + mended.lost_commits, 40, "{what}");
                mended_whole += usize::from(mended.log == whole);
                assert!(mended.log != bytes, "{what}");
            }
        }
    }
    assert!(mended_whole > 200, "{mended_whole} of 480");
}

#[test]
fn larger_damage_loses_as_little_as_possible_and_a_copy_of_the_log_is_kept() {
    for (from, bytes_gone) in [(30, 512), (20, PAGE), (25, FRAME), (10, 3 * FRAME)] {
        let (_folder, path) = log();
        let wal = sibling_path(&path, "-wal");
        let mut bytes = fs::read(&wal).unwrap();
        let at = HEADER_BYTES + from * FRAME + 1_000;
        bytes[at..at + bytes_gone].fill(0xa5);
        fs::write(&wal, &bytes).unwrap();
        assert!(is_damaged(&path).unwrap());
        let damage = mend(&path).unwrap().unwrap();
        assert_eq!(fs::read(&damage.kept).unwrap(), bytes);
        let lost = i64::try_from(damage.lost_commits).unwrap();
        // The marks of up to three commits are damaged too.
        assert!((40 - lost - 3..=40 - lost).contains(&rows(&path)), "{damage:?}");
    }
}

#[test]
fn damage_in_the_last_commit_is_reported_if_the_index_says_that_it_was_synced() {
    let (_folder, path) = log();
    let wal = sibling_path(&path, "-wal");
    let [whole, database, index] =
        ["-wal", "", "-shm"].map(|e| fs::read(sibling_path(&path, e)).unwrap());
    assert!(!is_damaged(&path).unwrap());
    let last = whole.len() - FRAME;
    let flipped = |places: &[usize]| {
        let mut bytes = whole.clone();
        places.iter().for_each(|place| bytes[last + place] ^= 4);
        bytes
    };
    let cases = [
        ("one bit of the page", flipped(&[1_000]), 0),
        // Several words would explain it.
        ("one bit of the page number", flipped(&[3]), 1),
        ("one bit of the salts", flipped(&[9]), 0),
        // No frame behind it repeats the checksum.
        ("one bit of the checksum", flipped(&[17]), 1),
        ("several words", flipped(&[100, 205, 777, 1_302]), 1),
        ("all of the frame's header", flipped(&(0..24).collect::<Vec<_>>()), 1),
        ("the file is shorter", whole[..last + 50].to_vec(), 1),
        ("the frame is not there", whole[..last].to_vec(), 1),
    ];
    for (what, bytes, lost) in cases {
        for (ending, bytes) in [("", &database), ("-shm", &index), ("-wal", &bytes)] {
            fs::write(sibling_path(&path, ending), bytes).unwrap();
        }
        assert!(is_damaged(&path).unwrap(), "{what}");
        let damage = mend(&path).unwrap().unwrap();
        assert_eq!(damage.lost_commits, lost, "{what}");
        assert_eq!(fs::read(&damage.kept).unwrap(), bytes, "{what}");
        assert_eq!(rows(&path), 40 - i64::try_from(lost).unwrap(), "{what}");
        let _ = fs::remove_file(&wal);
    }
}

#[test]
fn an_index_that_is_damaged_or_of_another_generation_proves_nothing() {
    let (_folder, path) = log();
    let wal = fs::read(sibling_path(&path, "-wal")).unwrap();
    let index = fs::read(sibling_path(&path, "-shm")).unwrap();
    let header = Header::read(&wal).unwrap();
    assert_eq!(synced_frames(&index, &header), (wal.len() - HEADER_BYTES) / FRAME);
    let other = Header { salts: [7; 8], ..header };
    assert_eq!(synced_frames(&index, &other), 0);
    assert_eq!(synced_frames(&index[..40], &header), 0);
    assert_eq!(synced_frames(&[], &header), 0);
    for byte in 0..48 {
        let mut damaged = index.clone();
        // Both copies.
        damaged[byte] ^= 0x10;
        damaged[48 + byte] ^= 0x10;
        assert_eq!(synced_frames(&damaged, &header), 0, "{byte}");
    }
}

#[test]
fn a_damaged_header_of_the_log_loses_nothing() {
    let (_folder, path) = log();
    let [whole, database] =
        ["-wal", ""].map(|ending| fs::read(sibling_path(&path, ending)).unwrap());
    let cases =
        (0..HEADER_BYTES).map(|byte| byte..byte + 1).chain([0..8, 8..16, 12..24, 24..32, 0..32]);
    for damaged in cases {
        let mut bytes = whole.clone();
        bytes[damaged.clone()].iter_mut().for_each(|byte| *byte ^= 0x81);
        fs::write(&path, &database).unwrap();
        fs::write(sibling_path(&path, "-wal"), &bytes).unwrap();
        assert!(is_damaged(&path).unwrap(), "{damaged:?}");
        let damage = mend(&path).unwrap().unwrap();
        assert_eq!((damage.saved_commits, damage.lost_commits), (40, 0), "{damaged:?}");
        assert_eq!(fs::read(&damage.kept).unwrap(), bytes);
        assert_eq!(rows(&path), 40, "{damaged:?}");
    }
}

#[test]
fn a_header_torn_while_the_log_restarts_is_not_damage() {
    let (_folder, path) = log();
    let wal = sibling_path(&path, "-wal");
    let whole = fs::read(&wal).unwrap();
    // All of it is in the database.
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
    let database = fs::read(&path).unwrap();
    drop(connection);
    fs::write(&path, database).unwrap();
    for torn in [13, 17, 20, 23, 24, 28, 31] {
        let mut bytes = whole.clone();
        bytes[12..torn].fill(0x5a);
        fs::write(&wal, &bytes).unwrap();
        assert!(!is_damaged(&path).unwrap(), "{torn}");
        assert_eq!(mend(&path).unwrap(), None, "{torn}");
        assert_eq!(fs::read(&wal).unwrap(), bytes);
    }
    // Behind a header that never was there is nothing.
    for bytes in [vec![0; HEADER_BYTES], vec![0; HEADER_BYTES + 3 * FRAME], vec![7; 5_000]] {
        fs::write(&wal, &bytes).unwrap();
        assert!(!is_damaged(&path).unwrap(), "{} bytes", bytes.len());
    }
}
