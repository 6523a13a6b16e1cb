// An SMSC over npm's smpp: it tells each PDU that it gets in a line of JSON, and does what its standard input says.
const readline = require('readline');
const smpp = require('smpp');

const say = (told) => console.log(JSON.stringify(told));
let status = 'ESME_ROK';
let silent = false;
let sessions = [];

const server = smpp.createServer((session) => {
  sessions.push(session);
  session.on('error', () => {});
  session.on('close', () => {
    sessions = sessions.filter((other) => other !== session);
    say({ event: 'closed' });
  });
  session.on('bind_transceiver', (pdu) => {
    const known = pdu.system_id === 'numcheck' && pdu.password === 'secret';
    session.send(pdu.response({ command_status: known ? 0 : smpp.ESME_RINVPASWD }));
    say({ event: known ? 'bound' : 'refused', version: pdu.interface_version });
  });
  session.on('submit_sm', (pdu) => {
    say({
      event: 'submitted', destination: pdu.destination_addr, ton: pdu.dest_addr_ton, npi: pdu.dest_addr_npi,
      source: pdu.source_addr, source_ton: pdu.source_addr_ton, text: pdu.short_message.message,
      coding: pdu.data_coding, receipt: pdu.registered_delivery,
      validity: String(pdu.validity_period && (pdu.validity_period.getTime ? pdu.validity_period.getTime() - Date.now()
        : pdu.validity_period)),
    });
    if (silent) return;
    const code = /^\d+$/.test(status) ? Number(status) : smpp[status];
    session.send(pdu.response({ command_status: code, message_id: code ? '' : 'm1' }));
  });
  session.on('deliver_sm_resp', (pdu) => say({ event: 'taken', status: pdu.command_status }));
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    say({ event: 'unbound' });
    session.send(pdu.response());
    session.close();
  });
});

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const order = JSON.parse(line);
  if (order.status !== undefined) status = order.status;
  if (order.silent !== undefined) silent = order.silent;
  if (order.drop) sessions.forEach((session) => session.destroy());
  if (order.garbage) sessions.forEach((session) => session.socket.write(Buffer.from(order.garbage, 'hex')));
  if (order.deliver) sessions.forEach((session) => session.deliver_sm(order.deliver));
  say({ event: 'done' });
}).on('close', () => process.exit(0));

server.listen(0, '127.0.0.1', () => say({ event: 'listening', port: server.address().port }));
