// The package ships no types of its own.
declare module "swagger-ui-dist/swagger-ui-es-bundle.js" {
  interface SwaggerRequest {
    method: string;
    headers: Record<string, string>;
  }
  export default function SwaggerUI(options: {
    url: string;
    dom_id: string;
    deepLinking: boolean;
    requestInterceptor: (request: SwaggerRequest) => SwaggerRequest;
  }): void;
}
declare module "swagger-ui-dist/swagger-ui.css";
