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
    for ending in ["", "-wal"] {
        fs::copy(beside(&live, ending), beside(&path, ending)).unwrap();
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
fn a_log_that_is_whole_or_torn_at_its_end_is_left_as_it_is() {
    let (_folder, path) = log();
    let wal = beside(&path, "-wal");
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
fn a_damaged_bit_is_mended_or_its_loss_is_told() {
    let (_folder, path) = log();
    let whole = fs::read(beside(&path, "-wal")).unwrap();
    let database = fs::read(&path).unwrap();
    let mut mended_whole = 0;
    for place in [0, 3, 4, 9, 16, 21, 24, 25, 100, 2_001, 3_002, FRAME - 1] {
        for frame in [0, 1, 7, 20, 50] {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[HEADER_BYTES + frame * FRAME + place] ^= 1 << bit;
                let what = format!("bit {bit} of byte {place} of frame {frame}");
                let mended = examine(&bytes).unwrap().expect(&what);
                fs::write(&path, &database).unwrap();
                fs::write(beside(&path, "-wal"), &mended.log).unwrap();
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
fn of_a_larger_damage_all_is_saved_that_can_be_and_the_log_is_kept() {
    for (from, bytes_gone) in [(30, 512), (20, PAGE), (25, FRAME), (10, 3 * FRAME)] {
        let (_folder, path) = log();
        let wal = beside(&path, "-wal");
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
