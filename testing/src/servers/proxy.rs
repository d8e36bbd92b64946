//! A TCP proxy that can misbehave on command.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// How the proxy treats connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// As if it were not there.
    #[default]
    Pass,
    /// Connections are reset and new ones are refused, as if the server were down.
    Refuse,
    /// Connections are reset and new ones are accepted and reset at once.
    Reset,
    /// Nothing passes in either direction; what was sent meanwhile arrives after the fault, as
    /// packets do that the kernel sends again.
    Blackhole,
    /// Requests arrive, answers vanish; connections that lost answers are reset after the fault.
    LoseAnswers,
    /// Everything arrives this much later, in both directions.
    Delay(Duration),
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    target: SocketAddr,
    fault: Fault,
    /// Changes when all connections that exist are to be reset.
    generation: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicUsize,
    open: AtomicUsize,
}

/// A TCP proxy in front of a server, on a thread of its own; gone when dropped.
///
/// ```
/// use windlass_testing::servers::{Fault, FaultProxy, RedisServer};
/// let server = RedisServer::start();
/// let proxy = FaultProxy::start(server.port());
/// proxy.set(Fault::Refuse);
/// assert!(std::net::TcpStream::connect(proxy.addr()).is_err());
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    plan: Option<watch::Sender<Plan>>,
    counters: Arc<Counters>,
    /// Says that the listener has followed the last change of plan.
    applied: std::sync::Mutex<mpsc::Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// A proxy to `port` of this host.
    ///
    /// # Panics
    /// If no port or thread is left on this host.
    pub fn start(port: u16) -> Self {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (plan, plans) = watch::channel(Plan { target, fault: Fault::Pass, generation: 0 });
        let counters = Arc::new(Counters::default());
        let (applied, has_applied) = mpsc::channel();
        let (started, has_started) = mpsc::channel();
        let shared = Arc::clone(&counters);
        let thread = std::thread::Builder::new()
            .name("fault-proxy".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async move {
                    let socket = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
                    let addr = socket.local_addr().expect("a bound socket has an address");
                    let door = Door::Shut(socket).open();
                    let _ = started.send(addr);
                    serve(door, addr, plans, shared, applied).await;
                });
            })
            .expect("a thread");
        let addr = has_started.recv().expect("the proxy tells its address");
        let applied = std::sync::Mutex::new(has_applied);
        Self { addr, plan: Some(plan), counters, applied, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The URL of a server behind it, without credentials: `scheme://127.0.0.1:port`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.addr)
    }

    /// Starts or ends a fault; when it returns, the listener has followed.
    pub fn set(&self, fault: Fault) {
        self.change(|plan| plan.fault = fault);
    }

    /// Resets the connections that exist, once; new ones are treated as before.
    pub fn cut(&self) {
        self.change(|plan| plan.generation += 1);
    }

    /// Sends new connections to another port of this host, as a failover does, and cuts the others.
    pub fn retarget(&self, port: u16) {
        self.change(|plan| {
            plan.target.set_port(port);
            plan.generation += 1;
        });
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.counters.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.counters.open.load(Ordering::SeqCst)
    }

    fn change(&self, change: impl FnOnce(&mut Plan)) {
        let applied = self.applied.lock().expect("a change of plan does not panic");
        self.plan.as_ref().expect("it is there until drop").send_modify(change);
        applied.recv().expect("the proxy runs until drop");
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.plan = None;
        if let Some(thread) = self.thread.take() {
            // It panics only if this host has no ports left, which was reported at the start.
            let _ = thread.join();
        }
    }
}

/// The port: open to connections, or kept so that nobody else takes it, while connections are refused.
enum Door {
    Open(TcpListener),
    Shut(TcpSocket),
}

impl Door {
    fn open(self) -> Self {
        match self {
            Self::Shut(socket) => Self::Open(socket.listen(1024).expect("a bound socket can listen")),
            open @ Self::Open(_) => open,
        }
    }

    async fn shut(self, addr: SocketAddr) -> Self {
        let Self::Open(listener) = self else { return self };
        drop(listener);
        let socket = bound(addr).await;
        // A process that is being started by another thread holds a copy of every socket for a moment.
        let _ = tokio::time::timeout(Duration::from_secs(1), async {
            while TcpStream::connect(addr).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        Self::Shut(socket)
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            Self::Open(listener) => listener.accept().await.map(|(client, _)| client),
            Self::Shut(_) => std::future::pending().await,
        }
    }
}

/// A socket that has the port and does not listen; the port can be in use for a moment.
async fn bound(addr: SocketAddr) -> TcpSocket {
    loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option of every socket");
        match socket.bind(addr) {
            Ok(()) => return socket,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Accepts until the handle is dropped.
async fn serve(
    mut door: Door,
    addr: SocketAddr,
    mut plans: watch::Receiver<Plan>,
    counters: Arc<Counters>,
    applied: mpsc::Sender<()>,
) {
    loop {
        tokio::select! {
            changed = plans.changed() => {
                if changed.is_err() {
                    return;
                }
                let refuse = plans.borrow_and_update().fault == Fault::Refuse;
                door = if refuse { door.shut(addr).await } else { door.open() };
                let _ = applied.send(());
            }
            Ok(client) = door.accept() => {
                counters.accepted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connection(client, plans.clone(), Arc::clone(&counters)));
            }
        }
    }
}

/// Counts itself as open while it lives.
struct Open(Arc<Counters>);

impl Open {
    fn new(counters: Arc<Counters>) -> Self {
        counters.open.fetch_add(1, Ordering::SeqCst);
        Self(counters)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn connection(mut client: TcpStream, plans: watch::Receiver<Plan>, counters: Arc<Counters>) {
    let _open = Open::new(counters);
    let _ = client.set_nodelay(true);
    // Closing with this set sends a reset; an orderly end is made by the pumps before. The pumps
    // borrow their halves, because owned halves end the stream in good order when dropped.
    let _ = client.set_zero_linger();
    let plan = *plans.borrow();
    if matches!(plan.fault, Fault::Reset | Fault::Refuse) {
        return;
    }
    let Ok(mut server) = TcpStream::connect(plan.target).await else { return };
    let _ = server.set_nodelay(true);
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let requests = pump(client_read, server_write, plans.clone(), false);
    let answers = pump(server_read, client_write, plans.clone(), true);
    tokio::select! {
        () = cut(plans.clone(), plan.generation) => {}
        _ = async { tokio::try_join!(requests, answers) } => {}
    }
}

/// The stream is not whole any more; dropping the sockets resets the connection.
struct Broken;

/// Ends when this connection is to be reset.
async fn cut(mut plans: watch::Receiver<Plan>, generation: u64) {
    let reset = |plan: &Plan| plan.generation != generation || matches!(plan.fault, Fault::Reset | Fault::Refuse);
    // An error means that the proxy is gone, which ends its connections too.
    let _ = plans.wait_for(reset).await;
}

/// Carries bytes in one direction until the end of the stream, through a queue so that a delay does
/// not slow down what follows.
async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    plans: watch::Receiver<Plan>,
    answers: bool,
) -> Result<(), Broken> {
    let (queue, queued) = tokio::sync::mpsc::channel(64);
    tokio::try_join!(read(from, queue, plans.clone(), answers), write(to, queued, plans)).map(|_| ())
}

type Chunk = (Instant, Vec<u8>);

async fn read(
    mut from: ReadHalf<'_>,
    queue: tokio::sync::mpsc::Sender<Chunk>,
    mut plans: watch::Receiver<Plan>,
    answers: bool,
) -> Result<(), Broken> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await.map_err(|_| Broken)?;
        if length == 0 {
            return Ok(());
        }
        let fault = plans.borrow().fault;
        if answers && fault == Fault::LoseAnswers {
            lose(from, buffer, &mut plans).await;
            return Err(Broken);
        }
        let delay = if let Fault::Delay(delay) = fault { delay } else { Duration::ZERO };
        queue.send((Instant::now() + delay, buffer[..length].to_vec())).await.map_err(|_| Broken)?;
    }
}

/// Throws answers away until the fault is over.
async fn lose(mut from: ReadHalf<'_>, mut buffer: Vec<u8>, plans: &mut watch::Receiver<Plan>) {
    let over = plans.wait_for(|plan| plan.fault != Fault::LoseAnswers);
    let thrown = async { while let Ok(1..) = from.read(&mut buffer).await {} };
    tokio::select! {
        _ = over => {}
        () = thrown => {}
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut queued: tokio::sync::mpsc::Receiver<Chunk>,
    mut plans: watch::Receiver<Plan>,
) -> Result<(), Broken> {
    while let Some((due, bytes)) = queued.recv().await {
        tokio::time::sleep_until(due).await;
        passing(&mut plans).await?;
        to.write_all(&bytes).await.map_err(|_| Broken)?;
    }
    passing(&mut plans).await?;
    to.shutdown().await.map_err(|_| Broken)
}

async fn passing(plans: &mut watch::Receiver<Plan>) -> Result<(), Broken> {
    plans.wait_for(|plan| plan.fault != Fault::Blackhole).await.map(|_| ()).map_err(|_| Broken)
}
