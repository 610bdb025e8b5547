// Before a server of somebody else's that listens wherever it can: it listens on loopback alone, at a port that is free,
// which is all that it prints, and it ends with its stdin.
const net = require("node:net");

console.log = console.error;
const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (_port, done) {
  return listen.call(this, 0, "127.0.0.1", () => {
    process.stdout.write(`${this.address().port}\n`);
    done?.();
  });
};
process.stdin.on("end", () => process.exit(0)).resume();
