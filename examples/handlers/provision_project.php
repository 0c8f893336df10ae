#!/usr/bin/env php
<?php
// Makes the folders of a new freispace project: PROJECTS_ROOT/<number>_<name>/{footage,audio,…}.
//
//   [destination.provision]
//   type = "command"
//   command = ["/usr/bin/php", "/opt/wilco/handlers/provision_project.php"]
//   environment = { PROJECTS_ROOT = "/srv/projects" }   # must exist, in case a mount is missing
//
//   [[route]]
//   from = "freispace"
//   events = ["project.created", "project.updated"]
//   to = ["provision"]
//
// A marker, .freispace.json, says whose folder it is; folders are found by the id in it. So a person may
// rename one. A project renamed in freispace keeps its folder, because open timelines point into it; the marker
// notes the new name. PHP 8.1 or newer, no extensions.
declare(strict_types=1);

const FOLDERS = ['footage', 'audio', 'edit', 'graphics', 'grade', 'deliveries', 'documents'];
const MARKER = '.freispace.json';
const MARKER_STYLE = JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR;
const DELIVERED = 0;
const BAD_DATA = 65;    // dead at once: the same bytes would fail again
const TRY_LATER = 75;
const BAD_SETTING = 78; // retried as well, so that nothing is lost once it is corrected

function finish(int $code, string $message): never
{
    fwrite($code === DELIVERED ? STDOUT : STDERR, "$message\n");
    exit($code);
}

// Letters, marks and digits of any script, and . _ - inside: no slash, NUL or leading dot gets through. The length
// counts characters, of four bytes at most: 16 + 40 of them and an id stay under the 255 bytes of a file name.
function safe(mixed $text, int $length, string $otherwise): string
{
    $safe = preg_replace('/[^\p{L}\p{M}\p{N}._-]+/u', '-', is_string($text) ? $text : '');
    preg_match("/^.{0,$length}/us", ltrim($safe, '.-_'), $cut);
    $safe = rtrim($cut[0], '.-_');
    return $safe === '' ? $otherwise : $safe;
}

/** The folder whose marker holds this id, with the marker: [path, marker], or null. */
function find(string $root, string $id): ?array
{
    foreach (scandir($root) as $entry) {
        $file = "$root/$entry/" . MARKER;
        $marker = $entry[0] !== '.' && is_file($file) ? json_decode(file_get_contents($file), true) : null;
        if (($marker['id'] ?? null) === $id) {
            return ["$root/$entry", $marker];
        }
    }
    return null;
}

function write_marker(string $folder, array $marker): void
{
    $new = "$folder/" . MARKER . '.new';
    file_put_contents($new, json_encode($marker, MARKER_STYLE) . "\n");
    fsync(fopen($new, 'r+'));
    rename($new, "$folder/" . MARKER);
}

// A full disk or a lost mount is a warning in PHP. Here it ends the attempt, and wilco tries again.
set_error_handler(fn ($level, $message) => throw new RuntimeException($message));
set_exception_handler(fn (Throwable $e) => finish(TRY_LATER, $e->getMessage()));

$body = json_decode(stream_get_contents(STDIN), true);
$event = (string) getenv('WILCO_EVENT');
$event_id = (string) getenv('WILCO_EVENT_ID');
$root = rtrim((string) getenv('PROJECTS_ROOT'), '/');

if (!in_array($event, ['project.created', 'project.updated'], true)) {
    finish(DELIVERED, "nothing to do for $event");
}
is_array($body) || finish(BAD_DATA, 'the body is no JSON object: ' . json_last_error_msg());
$project = is_array($body['data'] ?? null) ? $body['data'] : finish(BAD_DATA, 'the body has no data');
$id = is_string($project['id'] ?? null) ? $project['id'] : '';
preg_match('/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/D', $id) || finish(BAD_DATA, 'data.id is no UUID');
$root !== '' || finish(BAD_SETTING, 'PROJECTS_ROOT is not set');

$lock = fopen("$root/.freispace.lock", 'c');
flock($lock, LOCK_EX) || finish(TRY_LATER, 'no lock to be had');
[$folder, $marker] = find($root, $id) ?? [null, null];
$now = ['id' => $id, 'number' => $project['number'] ?? null, 'name' => $project['name'] ?? null, 'event' => $event_id];

if ($event === 'project.updated') {
    $folder !== null || finish(DELIVERED, "no folder here for project $id");
    // Event ids sort by time: what is older than the marker, or the very same event, has nothing new to say.
    $event_id === '' || strcmp($event_id, $marker['event'] ?? '') > 0 || finish(DELIVERED, 'already noted');
    $renamed = $now['name'] !== ($marker['name'] ?? null);
    $now['former_names'] = array_merge($marker['former_names'] ?? [], $renamed ? [$marker['name'] ?? null] : []);
    write_marker($folder, $now);
    finish(DELIVERED, $renamed ? basename($folder) . ': new name noted, folder left where it is' : 'nothing to rename');
}

$folder === null || finish(DELIVERED, basename($folder) . ' is already there');
// Built aside and renamed when complete, so that nobody sees half of it; a crash leaves it to the next attempt.
$partial = "$root/.freispace-$id.partial";
foreach (FOLDERS as $name) {
    is_dir("$partial/$name") || mkdir("$partial/$name", 0775, true);
}
write_marker($partial, $now);
$short = substr($id, 0, 8);
$folder = "$root/" . safe($now['number'], 16, $short) . '_' . safe($now['name'], 40, 'untitled');
$folder .= file_exists($folder) ? "_$short" : '';   // two projects of one name
file_exists($folder) && finish(TRY_LATER, basename($folder) . ' is taken by a folder without a marker');
rename($partial, $folder);
finish(DELIVERED, 'made ' . basename($folder));
