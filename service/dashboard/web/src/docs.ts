/** The interactive API pages: Swagger UI from the package itself, so that they work where there is no internet. */

import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "swagger-ui-dist/swagger-ui.css";

SwaggerUI({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  requestInterceptor: (request) => {
    // The service takes no write without a media type, not even one without a body.
    if (request.method !== "GET" && request.method !== "HEAD") request.headers["Content-Type"] ??= "application/json";
    return request;
  },
});
