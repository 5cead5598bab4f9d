#!/usr/bin/python3
"""A server of org.freedesktop.Notifications on the session bus, by another implementation than the gate's (libdbus). Says
what it is told as a line of JSON each, `{"ready": true}` first. With `hang` it never answers Notify; with `first=N` its
numbers begin at N."""

import json
import sys

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

NAME = "org.freedesktop.Notifications"


def say(**what):
    print(json.dumps(what), flush=True)


class Server(dbus.service.Object):
    def __init__(self, bus, first, hangs):
        super().__init__(bus, "/org/freedesktop/Notifications")
        self.next, self.hangs, self.open = first, hangs, set()

    @dbus.service.method(NAME, in_signature="susssasa{sv}i", out_signature="u", async_callbacks=("done", "failed"))
    def Notify(self, app, replaces, icon, summary, body, actions, hints, expires, done, failed):
        number = int(replaces)
        if number not in self.open:
            number, self.next = self.next, self.next + 1
            self.open.add(number)
        hints = {str(name): [type(value).__name__, int(value)] for name, value in hints.items()}
        say(call="notify", id=number, replaces=int(replaces), app=app, summary=summary, body=body,
            actions=list(actions), hints=hints, expires=int(expires), visible=len(self.open))
        if not self.hangs:
            done(number)

    @dbus.service.method(NAME, in_signature="u", out_signature="")
    def CloseNotification(self, number):
        say(call="close", id=int(number), known=int(number) in self.open)
        if int(number) not in self.open:
            raise dbus.DBusException("no such notification", name="org.freedesktop.DBus.Error.Failed")
        self.open.remove(int(number))


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
session = dbus.SessionBus()
name = dbus.service.BusName(NAME, session, do_not_queue=True)
first = [int(word[6:]) for word in sys.argv[1:] if word.startswith("first=")]
server = Server(session, first[0] if first else 1, "hang" in sys.argv[1:])
say(ready=True)
GLib.MainLoop().run()
