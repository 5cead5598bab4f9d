"""A modem without a card on a pseudo terminal, for the browser test: calls are answered at once, tones are taken. The first line
that it prints is its port, each further one a command for calls that it was sent."""

import os
import pty
import tty

MASTER, SLAVE = pty.openpty()
tty.setraw(SLAVE)
print(os.ttyname(SLAVE), flush=True)

calls = []


def answer(line):
    if line.startswith(("ATD", "ATH", "AT+CHUP", "AT+VTS")):
        print(line, flush=True)
    if line.startswith("ATD"):
        calls.append(line[3:].rstrip(";"))
        return ["OK"]
    if line in ("ATH", "AT+CHUP"):
        calls.clear()
        return ["OK"]
    if line == "AT+CLCC":
        return [f'+CLCC: {at},0,0,0,0,"{number}",145' for at, number in enumerate(calls, 1)] + ["OK"]
    if line.startswith(("AT+CIMI", "AT+CCID", "AT+CRSM", "AT+CSIM")):
        return ["+CME ERROR: 10"]
    return ["OK"]


buffered = b""
while True:
    buffered += os.read(MASTER, 1024)
    *lines, buffered = buffered.split(b"\r")
    for text in lines:
        said = "".join(f"\r\n{part}\r\n" for part in answer(text.decode("ascii", "replace").strip()))
        os.write(MASTER, said.encode())
