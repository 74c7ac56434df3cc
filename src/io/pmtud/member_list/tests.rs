use std::cell::RefCell;
use std::fs;

use super::*;

fn list(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn parsed(text: &str) -> Result<Vec<IpAddr>, String> {
    parse(text).map(|read| read.members)
}

#[test]
fn one_address_a_line() {
    let text = "# the fleet\n10.0.0.12\n\n  2001:db8::13 # rack 2\r\n10.0.0.12\n";
    assert_eq!(parsed(text), Ok(list(&["10.0.0.12", "2001:db8::13"])));
    for (text, why) in [
        ("", "there is no address in it"),
        ("# 10.0.0.12\n\n", "there is no address in it"),
        ("10.0.0.12\n10.0.0.0/24\n", "line 2: \"10.0.0.0/24\" is not the address of a host"),
        ("10.0.0.12 10.0.0.13\n", "line 1: \"10.0.0.12 10.0.0.13\" is not the address of a host"),
        ("0.0.0.0", "line 1: \"0.0.0.0\" is not the address of a host"),
        ("fe80::1", "line 1: \"fe80::1\" is not the address of a host"),
        ("255.255.255.255", "line 1: \"255.255.255.255\" is not the address of a host"),
        ("::ffff:10.0.0.1", "line 1: \"::ffff:10.0.0.1\" is not the address of a host"),
        ("ff02::1", "line 1: \"ff02::1\" is not the address of a host"),
    ] {
        assert_eq!(parsed(text), Err(why.to_owned()), "{text:?}");
    }
}

#[test]
fn a_list_is_bounded() {
    let text = |count: usize| (0..count).map(|n| format!("10.1.{}.{}\n", n / 256, n % 256)).collect::<String>();
    let read = parse(&text(1024)).unwrap();
    assert_eq!((read.members.len(), read.warning), (1024, None));
    let read = parse(&text(1100)).unwrap();
    let warning = "1100 addresses; only the first 1024 are members".to_owned();
    assert_eq!((read.members.len(), read.warning), (1024, Some(warning)));
    assert_eq!(read.members.last(), Some(&"10.1.3.255".parse().unwrap()));
}

/// One source and what came of it, looked at by hand.
struct Scene {
    source: Box<dyn Source>,
    last: Option<Vec<IpAddr>>,
    trouble: Trouble,
    given: RefCell<Vec<Vec<IpAddr>>>,
}

impl Scene {
    fn file(path: &Path) -> Self {
        Self {
            source: Box::new(FileSource { path: path.to_owned(), seen: None }),
            last: None,
            trouble: Trouble::default(),
            given: RefCell::default(),
        }
    }

    /// What was given at this look, and what is wrong after it.
    fn look(&mut self) -> (Vec<Vec<IpAddr>>, Option<String>) {
        let given = &self.given;
        let give = |list: Vec<IpAddr>| {
            given.borrow_mut().push(list);
            true
        };
        assert!(step(self.source.as_mut(), &mut self.last, &self.trouble, &give));
        (self.given.take(), self.trouble.get())
    }
}

#[test]
fn a_file_is_read_when_it_changes_and_a_broken_one_keeps_the_last_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("members");
    let shown = path.display().to_string();
    let mut scene = Scene::file(&path);
    let missing = format!("cannot read {shown}: No such file or directory (os error 2)");
    assert_eq!(scene.look(), (vec![], Some(format!("{missing}; there are none until it is read"))));

    fs::write(&path, "10.0.0.12\n").unwrap();
    assert_eq!(scene.look(), (vec![list(&["10.0.0.12"])], None));
    assert_eq!(scene.look(), (vec![], None), "nothing has changed");

    fs::write(&path, "10.0.0.12\n10.0.0.13\n").unwrap();
    assert_eq!(scene.look(), (vec![list(&["10.0.0.12", "10.0.0.13"])], None));

    for (text, why) in
        [("", "there is no address in it"), ("10.0.0.12\nhost\n", "line 2: \"host\" is not the address of a host")]
    {
        fs::write(&path, text).unwrap();
        assert_eq!(scene.look(), (vec![], Some(format!("{shown}: {why}; the last list goes on"))));
    }
    fs::write(&path, b"10.0.0.\xff").unwrap();
    assert_eq!(scene.look(), (vec![], Some(format!("{shown}: not UTF-8; the last list goes on"))));
    fs::remove_file(&path).unwrap();
    assert_eq!(scene.look(), (vec![], Some(format!("{missing}; the last list goes on"))));
    fs::create_dir(&path).unwrap();
    assert_eq!(scene.look(), (vec![], Some(format!("cannot read {shown}: not a file; the last list goes on"))));
    fs::remove_dir(&path).unwrap();

    // The same list again: nothing to give, and nothing is wrong any more.
    fs::write(&path, "# as before\n10.0.0.12\n10.0.0.13\n").unwrap();
    assert_eq!(scene.look(), (vec![], None));
    // Replaced, as careful tools do it: of the same size.
    fs::write(folder.path().join("new"), "# as before\n10.0.0.12\n10.0.0.14\n").unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    assert_eq!(scene.look(), (vec![list(&["10.0.0.12", "10.0.0.14"])], None));
}

#[test]
fn a_disk_named_by_mistake_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("members");
    File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
    let why = format!("cannot read {}: larger than 1024 KiB; there are none until it is read", path.display());
    assert_eq!(Scene::file(&path).look(), (vec![], Some(why)));
}

#[test]
fn a_name_is_resolved_and_what_cannot_be_keeps_the_last_list() {
    let mut scene =
        Scene { source: Box::new(NameSource { name: "localhost".to_owned() }), ..Scene::file(Path::new("")) };
    let (given, trouble) = scene.look();
    assert_eq!((given.len(), trouble), (1, None));
    assert!(given[0].iter().all(IpAddr::is_loopback), "{given:?}");
    assert_eq!(scene.look(), (vec![], None), "the same addresses are no change");
    // RFC 6761: never to be resolved.
    scene.source = Box::new(NameSource { name: "members.invalid".to_owned() });
    let (given, trouble) = scene.look();
    let trouble = trouble.unwrap();
    assert!(given.is_empty() && trouble.starts_with("cannot resolve members.invalid: "), "{trouble}");
    assert!(trouble.ends_with("; the last list goes on"), "{trouble}");
}

#[test]
fn a_fixed_list_is_given_at_once_and_the_thread_ends_with_its_watch() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let give = |sender: std::sync::mpsc::Sender<Vec<IpAddr>>| move |list| sender.send(list).is_ok();
    let members = Members::List(list(&["10.0.0.12", "10.0.0.12"]));
    let _watching = watch(&members, give(sender.clone())).unwrap();
    assert_eq!(receiver.try_recv(), Ok(list(&["10.0.0.12", "10.0.0.12"])));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("members");
    fs::write(&path, "10.0.0.13").unwrap();
    let watching = watch(&Members::File(path), give(sender)).unwrap();
    assert_eq!(receiver.recv(), Ok(list(&["10.0.0.13"])));
    drop(watching);
    // The thread drops its end; a thread that went on would let this wait for ever.
    assert!(receiver.recv().is_err());
}
