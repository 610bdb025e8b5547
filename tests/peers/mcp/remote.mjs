// A server of tools behind a URL, by the SDK of the older era: sessions, and answers as events.
// Prints its port, and ends with its stdin.
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/`);
const sdk = (path) => import(require.resolve(`@modelcontextprotocol/sdk/${path}`));
const { McpServer } = await sdk("server/mcp.js");
const { StreamableHTTPServerTransport } = await sdk("server/streamableHttp.js");
const z = require("zod");

const sessions = new Map();
const deleted = [];

async function begun() {
  const server = new McpServer({ name: "remote", version: "1" });
  server.registerTool("echo", { description: "Says it again.", inputSchema: { text: z.string() } }, ({ text }) => ({
    content: [{ type: "text", text: `it said: ${text}` }],
  }));
  server.registerTool("sessions", { description: "How many there are." }, () => ({
    content: [{ type: "text", text: `${sessions.size} open, ${deleted.length} ended` }],
  }));
  // Whatever its client has said that it can: what comes of that is the answer.
  server.registerTool("ask", { description: "Asks back." }, async (extra) => {
    const said = [];
    for (const [method, params] of [
      ["ping", {}],
      ["elicitation/create", { message: "Your password?", requestedSchema: { type: "object", properties: {} } }],
      ["sampling/createMessage", { messages: [], maxTokens: 1 }],
      ["roots/list", {}],
    ]) {
      const answered = extra.sendRequest({ method, params }, z.object({}).passthrough());
      said.push(`${method}: ${await answered.then(JSON.stringify, (error) => error.code)}`);
    }
    return { content: [{ type: "text", text: said.join(", ") }] };
  });
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => sessions.set(id, transport),
    onsessionclosed: (id) => {
      sessions.delete(id);
      deleted.push(id);
    },
  });
  await server.connect(transport);
  return transport;
}

const http = createServer(async (request, response) => {
  let text = "";
  for await (const part of request) text += part;
  const body = text && JSON.parse(text);
  const id = request.headers["mcp-session-id"];
  if (request.url === "/moved") {
    response.writeHead(307, { location: "/mcp" }).end();
    return;
  }
  if (request.url === "/closed") {
    response.writeHead(401, { "www-authenticate": "Bearer" }).end();
    return;
  }
  const transport = id ? sessions.get(id) : await begun();
  if (!transport) {
    response.writeHead(404).end();
    return;
  }
  await transport.handleRequest(request, response, body);
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
