/*
 * Moves bytes over TCP, and single datagrams over UDP, and says what it moved:
 *
 *   flow sends NAME ADDRESS PORT BYTES   connects and sends so many bytes
 *   flow takes NAME ADDRESS PORT         connects and takes what comes, to its end
 *   flow asks NAME ADDRESS PORT          sends its name as a datagram, until something comes back
 *   flow answers NAME - PORT             waits for a datagram and sends it back
 *
 * ADDRESS is four numbers with dots, or `-` to wait for the other side. The bytes are a generator's (Marsaglia, "Xorshift RNGs"), begun
 * by the name; they are told by their CRC-32C, over all of them, which the other end must find too:
 *
 *   network: NAME sends BYTES bytes, crc32c HEX, MILLISECONDS ms
 *
 * Cheap in instructions, which an interpreted processor counts: needs SSE4.2's CRC32. A static program without a C library. Exit status 0
 * when all went over.
 */
#include "system.h"

/* --- System calls (x86-64) ----------------------------------------------------------------------------------------------------- */

enum {
  SYS_READ = 0,
  SYS_WRITE = 1,
  SYS_NANOSLEEP = 35,
  SYS_SOCKET = 41,
  SYS_CONNECT = 42,
  SYS_ACCEPT = 43,
  SYS_SENDTO = 44,
  SYS_RECVFROM = 45,
  SYS_SHUTDOWN = 48,
  SYS_BIND = 49,
  SYS_LISTEN = 50,
  SYS_SETSOCKOPT = 54,
  SYS_CLOCK_GETTIME = 228,
};
enum { AF_INET = 2, SOCK_STREAM = 1, SOCK_DGRAM = 2, SHUT_WR = 1, SOL_SOCKET = 1, SO_REUSEADDR = 2, SO_RCVTIMEO = 20 };
enum { CLOCK_MONOTONIC = 1, EAGAIN = 11, EINTR = 4 };

struct time {
  u64 seconds, nanoseconds;
};
static u64 milliseconds(void) {
  struct time now;
  call(SYS_CLOCK_GETTIME, CLOCK_MONOTONIC, (u64)&now, 0, 0, 0, 0);
  return now.seconds * 1000 + now.nanoseconds / 1000000;
}
static void nap(u64 length) {
  struct time rest = {length / 1000, length % 1000 * 1000000};
  call(SYS_NANOSLEEP, (u64)&rest, 0, 0, 0, 0, 0);
}

/* --- Words ----------------------------------------------------------------------------------------------------------------------- */

static int is(const char *text, const char *other) {
  while (*text && *text == *other) text++, other++;
  return *text == *other;
}
static u64 number(const char **text) {
  u64 value = 0;
  while (**text >= '0' && **text <= '9') value = value * 10 + (u64)(*(*text)++ - '0');
  return value;
}

/* A line, written at once: other processes write to the same console. */
static char line[256];
static u64 used;
static void say(const char *text) {
  while (*text && used < sizeof line) line[used++] = *text++;
}
static void say_number(u64 value, u32 base, u32 least) {
  char digits[24];
  u32 at = sizeof digits;
  digits[--at] = 0;
  do digits[--at] = "0123456789abcdef"[value % base];
  while ((value /= base) || sizeof digits - 1 - at < least);
  say(digits + at);
}
static void say_end(void) {
  say("\n");
  call(SYS_WRITE, 1, (u64)line, used, 0, 0, 0);
  used = 0;
}
static long need(const char *what, long result) {
  if (result >= 0) return result;
  say("network: FAIL ");
  say(what);
  say(", error ");
  say_number((u64)-result, 10, 1);
  say_end();
  leave(1);
}

/* --- Sockets --------------------------------------------------------------------------------------------------------------------- */

/* struct sockaddr_in; port and address in network order. */
struct address {
  u16 family;
  u8 port[2], ip[4], zero[8];
};

static struct address address(const char *ip, const char *port) {
  struct address made = {AF_INET, {0, 0}, {0, 0, 0, 0}, {0}};
  u64 p = number(&port);
  made.port[0] = (u8)(p >> 8);
  made.port[1] = (u8)p;
  for (u32 i = 0; i < 4 && *ip != '-'; i++) {
    made.ip[i] = (u8)number(&ip);
    if (*ip == '.') ip++;
  }
  return made;
}
static long open_socket(u64 type) { return need("socket", call(SYS_SOCKET, AF_INET, type, 0, 0, 0, 0)); }
static void bind_to(long file, const struct address *at) {
  u32 yes = 1;
  call(SYS_SETSOCKOPT, (u64)file, SOL_SOCKET, SO_REUSEADDR, (u64)&yes, sizeof yes, 0);
  need("bind", call(SYS_BIND, (u64)file, (u64)at, sizeof *at, 0, 0, 0));
}

enum { TRIES = 100, PAUSE = 100 };

/* A connection: to `at`, which may not listen yet, or the first that comes. */
static long connection(const struct address *at, int waits) {
  if (waits) {
    long file = open_socket(SOCK_STREAM);
    bind_to(file, at);
    need("listen", call(SYS_LISTEN, (u64)file, 1, 0, 0, 0, 0));
    return need("accept", call(SYS_ACCEPT, (u64)file, 0, 0, 0, 0, 0));
  }
  for (u32 tries = 0;; tries++) {
    long file = open_socket(SOCK_STREAM);
    long result = call(SYS_CONNECT, (u64)file, (u64)at, sizeof *at, 0, 0, 0);
    if (result >= 0) return file;
    if (tries == TRIES) need("connect", result);
    nap(PAUSE);
  }
}

/* --- What is moved --------------------------------------------------------------------------------------------------------------- */

enum { WORDS = 8192 };
static u64 buffer[WORDS];

static u32 crc32c(u32 crc, const u8 *bytes, u64 count) {
  u64 sum = crc;
  for (; count >= 8; bytes += 8, count -= 8) __asm__("crc32q %1, %0" : "+r"(sum) : "m"(*(const u64 *)bytes));
  for (; count > 0; bytes++, count--) __asm__("crc32b %1, %0" : "+r"(sum) : "m"(*bytes));
  return (u32)sum;
}

static void report(const char *name, const char *verb, u64 bytes, u32 crc, u64 since) {
  say("network: ");
  say(name);
  say(verb);
  say_number(bytes, 10, 1);
  say(" bytes, crc32c ");
  say_number(crc ^ 0xffffffff, 16, 8);
  say(", ");
  say_number(milliseconds() - since, 10, 1);
  say(" ms");
  say_end();
}

static void sends(const char *name, long file, u64 bytes) {
  u64 since = milliseconds();
  u64 random = 0x9e3779b97f4a7c15;
  for (const char *each = name; *each; each++) random = (random ^ (u8)*each) * 0x100000001b3;
  random |= 1;
  u32 crc = 0xffffffff;
  for (u64 left = bytes; left > 0;) {
    u64 part = left < sizeof buffer ? left : sizeof buffer;
    for (u32 i = 0; i < WORDS; i++) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      buffer[i] = random;
    }
    crc = crc32c(crc, (const u8 *)buffer, part);
    for (u64 done = 0; done < part;)
      done += (u64)need("write", call(SYS_WRITE, (u64)file, (u64)buffer + done, part - done, 0, 0, 0));
    left -= part;
  }
  need("shutdown", call(SYS_SHUTDOWN, (u64)file, SHUT_WR, 0, 0, 0, 0));
  /* All has arrived when the other side ends too. */
  while (need("read", call(SYS_READ, (u64)file, (u64)buffer, sizeof buffer, 0, 0, 0)) > 0) continue;
  report(name, " sends ", bytes, crc, since);
}

static void takes(const char *name, long file) {
  u64 since = milliseconds();
  u32 crc = 0xffffffff;
  u64 bytes = 0;
  for (;;) {
    long count = need("read", call(SYS_READ, (u64)file, (u64)buffer, sizeof buffer, 0, 0, 0));
    if (count == 0) break;
    crc = crc32c(crc, (const u8 *)buffer, (u64)count);
    bytes += (u64)count;
  }
  report(name, " took ", bytes, crc, since);
}

static void asks(const char *name, const struct address *at) {
  long file = open_socket(SOCK_DGRAM);
  struct time patience = {0, 500000000};
  call(SYS_SETSOCKOPT, (u64)file, SOL_SOCKET, SO_RCVTIMEO, (u64)&patience, sizeof patience, 0);
  for (u32 tries = 0; tries < TRIES; tries++) {
    need("send", call(SYS_SENDTO, (u64)file, (u64)name, length(name), 0, (u64)at, sizeof *at));
    long count = call(SYS_RECVFROM, (u64)file, (u64)buffer, 200, 0, 0, 0);
    if (count == -EAGAIN || count == -EINTR) continue;
    need("receive", count);
    ((char *)buffer)[count] = 0;
    say("network: ");
    say(name);
    say(" got ");
    say((const char *)buffer);
    say_end();
    return;
  }
  need("answer", -EAGAIN);
}

static void answers(const char *name, const struct address *at) {
  long file = open_socket(SOCK_DGRAM);
  bind_to(file, at);
  struct address from;
  u32 bytes = sizeof from;
  long count = need("receive", call(SYS_RECVFROM, (u64)file, (u64)buffer, 200, 0, (u64)&from, (u64)&bytes));
  need("send", call(SYS_SENDTO, (u64)file, (u64)buffer, (u64)count, 0, (u64)&from, sizeof from));
  ((char *)buffer)[count] = 0;
  say("network: ");
  say(name);
  say(" answered ");
  say((const char *)buffer);
  say_end();
}

/* The stack as the kernel leaves it: argc, argv. */
void program(const u64 *stack);
void program(const u64 *stack) {
  const char *const *words = (const char *const *)(stack + 1);
  u64 count = stack[0];
  if (count < 5) need("usage", -22);
  const char *verb = words[1], *name = words[2];
  int waits = is(words[3], "-");
  struct address at = address(words[3], words[4]);
  if (is(verb, "sends") && count == 6) {
    const char *bytes = words[5];
    sends(name, connection(&at, waits), number(&bytes));
  } else if (is(verb, "takes"))
    takes(name, connection(&at, waits));
  else if (is(verb, "asks"))
    asks(name, &at);
  else if (is(verb, "answers"))
    answers(name, &at);
  else
    need("usage", -22);
  leave(0);
}

__asm__(".globl _start\n_start: movq %rsp, %rdi\n andq $-16, %rsp\n call program\n");
