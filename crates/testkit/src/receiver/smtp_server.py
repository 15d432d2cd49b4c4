"""A mail server for tests on aiosmtpd: prints its port, writes each mail it takes as one JSON file.

Usage: smtp_server.py FOLDER off|starttls|tls [LOGIN PASSWORD]; FOLDER holds server.pem and server.key
unless it is "off". Mail to nobody@ is refused for good, mail to later@ for now.
"""

import asyncio
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

folder, mode, *account = sys.argv[1:]


class Keeper:
    def __init__(self):
        self.taken = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later@"):
            return "451 4.2.1 mailbox busy"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server, session, envelope):
        self.taken += 1
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "content": envelope.content.decode("utf-8", "replace").replace("\r\n", "\n"),
            "encrypted": server.transport.get_extra_info("sslcontext") is not None,
            "account": session.auth_data,
        }
        name = os.path.join(folder, "mail-%06d.json" % self.taken)
        with open(name + ".new", "w") as file:
            json.dump(mail, file)
        os.rename(name + ".new", name)
        return "250 2.0.0 taken as %d" % self.taken


def authenticate(server, session, envelope, mechanism, data):
    given = [data.login.decode(), data.password.decode()] if mechanism in ("LOGIN", "PLAIN") else None
    if given == account:
        return AuthResult(success=True, auth_data=given[0])
    return AuthResult(success=False, handled=False)


async def main():
    context = None
    if mode != "off":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
    keeper = Keeper()

    def session():
        return SMTP(
            keeper,
            tls_context=context if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            authenticator=authenticate if account else None,
            auth_required=bool(account),
            auth_require_tls=mode == "starttls",
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        session, "127.0.0.1", 0, ssl=context if mode == "tls" else None
    )
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
